"""An exported backbone answers what the published implementation answers on fixed weights."""

import numpy as np
import published
import pytest
import torch

from casvit_mm.deploy import fuse
from casvit_mm.deploy.convolutions import plain_operators
from casvit_mm.deploy.export.program import Network, exported_program
from casvit_mm.models import CASViT

onnxruntime = pytest.importorskip('onnxruntime')
SIZE = 'xs'


@pytest.fixture(scope='module')
def golden():
    return published.outputs()


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """The fused backbone with the published weights, for one size of image."""
    file = tmp_path_factory.mktemp('published') / 'cas-vit.pth'
    torch.save(published.weights(SIZE, 'backbone'), file)
    backbone = CASViT(SIZE, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    backbone.init_weights()
    outputs = tuple(f'level{index}' for index in range(4))
    return Network(fuse(backbone.eval()), published.image(96, 128, 2), False, False, outputs)


@pytest.fixture(scope='module')
def graph(network, tmp_path_factory):
    file = tmp_path_factory.mktemp('onnx') / 'backbone.onnx'
    program = exported_program(network)
    torch.onnx.export(program, (), dynamo=True, opset_version=18, verbose=False).save(str(file))
    return file


def by_onnxruntime(network, graph):
    session = onnxruntime.InferenceSession(str(graph), providers=['CPUExecutionProvider'])
    (given,) = session.get_inputs()
    return session.run(None, {given.name: network.example.numpy()})


def by_openvino(network, graph):
    openvino = pytest.importorskip('openvino')
    precision = {'INFERENCE_PRECISION_HINT': 'f32'}
    compiled = openvino.Core().compile_model(str(graph), 'CPU', precision)
    answer = compiled(network.example.numpy())
    return [answer[output] for output in compiled.outputs]


def by_torchscript(network, _):
    with torch.no_grad(), plain_operators():
        traced = torch.jit.trace(network.module, network.example)
        return [each.numpy() for each in traced(network.example)]


@pytest.mark.parametrize('run', [by_onnxruntime, by_openvino, by_torchscript])
def test_features_equal_the_published_ones(run, network, graph, golden):
    levels = run(network, graph)
    assert len(levels) == 4
    for index, level in enumerate(levels):
        expected = golden[f'{SIZE}/backbone/level{index}']
        found = np.asarray(level)[:, ::8]
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
