"""Weights of ncnn files in fp16."""

import numpy as np
import pytest
import torch
from torch import nn

from casvit.exported.description import INPUT, Description
from casvit_mm.deploy.export import ncnn as writer
from casvit_mm.deploy.export.program import Network

pytest.importorskip('pnnx')
ncnn = pytest.importorskip('ncnn')


READ_IN_FP16 = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class Kinds(nn.Module):
    """All kinds of layers whose weights ncnn reads in fp16, in odd and even numbers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 5, 3, bias=False),
            nn.GroupNorm(1, 5),
            nn.Conv2d(5, 5, 3, groups=5),
            nn.PReLU(5),
            nn.ConvTranspose2d(5, 4, 2, stride=2),
            nn.Conv2d(4, 4, 2, groups=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 7),
        )

    def forward(self, images):
        return self.layers(images)


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    module = Kinds().eval()
    with torch.no_grad():
        for layer in module.layers:
            if isinstance(layer, READ_IN_FP16):
                # The smallest normal number is 6.1e-5; a bias would hide what such weights give.
                layer.weight.mul_(5e-5)
                if layer.bias is not None:
                    layer.bias.zero_()
    example = torch.randint(0, 256, (1, 3, 12, 12), dtype=torch.uint8)
    return Network(module, example, False, False, ('logits',))


def written(network, precision, folder):
    file = folder / f'{precision}.param'
    description = Description(
        format='ncnn',
        task='classification',
        model='',
        classes=['shape'],
        palette=[(0, 0, 0)],
        size=(12, 12),
        batch=1,
        preparation=[],
        precision=precision,
    )
    writer.write(network, description, file)
    return file


def answer(file, example):
    net = ncnn.Net()
    options = net.opt
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    assert net.load_param(str(file)) == 0 and net.load_model(str(file.with_suffix('.bin'))) == 0
    extractor = net.create_extractor()
    values = example[0].numpy().astype(np.float32)
    extractor.input(INPUT, ncnn.Mat(values))
    return np.array(extractor.extract('logits')[1])


def test_every_weight_in_fp16_is_the_nearest_number_subnormal_ones_too(network, tmp_path):
    found = answer(written(network, 'fp16', tmp_path), network.example)
    kept = {name: each.clone() for name, each in network.module.state_dict().items()}
    with torch.no_grad():
        for layer in network.module.layers:
            if isinstance(layer, READ_IN_FP16):
                layer.weight.copy_(layer.weight.half().float())
        expected = network.module(network.example.float())[0].numpy()
        network.module.load_state_dict(kept)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_weights_that_do_not_fit_the_graph_stay_as_pnnx_wrote_them(network, tmp_path, monkeypatch):
    file = written(network, 'fp32', tmp_path)
    graph, single = file.read_text(), file.with_suffix('.bin').read_bytes()
    exact = written(network, 'fp16', tmp_path).with_suffix('.bin').read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(writer, 'exact_halves', lambda graph, single, half: half)
        half = written(network, 'fp16', tmp_path).with_suffix('.bin').read_bytes()
    assert writer.exact_halves(graph, single, half) == exact != half
    assert writer.exact_halves(graph, single, exact) == exact
    for other in (graph.replace('6=135', '6=137'), graph + 'InnerProduct x 1 1 a b 2=7\n'):
        assert writer.exact_halves(other, single, half) == half
    assert writer.exact_halves(graph, single[: len(single) // 2], half) == half
    assert writer.exact_halves(graph, half, half) == half
