"""What a converter cannot do is a sentence."""

import importlib
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from casvit_mm.deploy.export.program import ExportError, Network


class Decomposed(nn.Module):
    """Singular values, which torch exports and no converter has an operator for."""

    def forward(self, image):
        return torch.linalg.svdvals(image.float())


@pytest.mark.parametrize('name', ['onnx', 'openvino'])
def test_an_operator_that_a_converter_lacks_is_a_sentence_that_names_the_converter(name, tmp_path):
    pytest.importorskip('onnxscript')
    if name == 'openvino':
        pytest.importorskip('openvino')
    writer = importlib.import_module(f'casvit_mm.deploy.export.{name}')
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    network = Network(Decomposed(), image, dynamic=False, batches=False, outputs=('logits',))
    with pytest.raises(
        ExportError, match=r"^torch's ONNX exporter cannot .* Try another format\.$"
    ):
        writer.write(network, SimpleNamespace(precision='fp32'), tmp_path / 'model')
    assert list(tmp_path.iterdir()) == []
