"""CASViT against what the published implementation answers on fixed weights."""

import numpy as np
import published
import pytest
import torch

from casvit_mm.models import CASViT
from casvit_mm.models.checkpoint.published_layout import to_native_key


@pytest.fixture(scope='module')
def golden():
    return published.outputs()


@pytest.fixture(scope='module', params=published.SIZES)
def size(request):
    return request.param


@pytest.fixture(scope='module')
def backbone(size, tmp_path_factory):
    file = tmp_path_factory.mktemp('published') / f'cas-vit-{size}.pth'
    torch.save(published.weights(size, 'backbone'), file)
    backbone = CASViT(size, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    backbone.init_weights()
    return backbone


def assert_within(actual, expected, share):
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= share * np.abs(expected).max()


def test_features_equal_the_published_ones(backbone, size, golden):
    with torch.no_grad():
        levels = backbone.eval()(published.image(96, 128, 2))
    assert len(levels) == 4
    for index, level in enumerate(levels):
        assert_within(level[:, ::8].numpy(), golden[f'{size}/backbone/level{index}'], 1e-5)


def test_loss_and_gradients_equal_the_published_ones(backbone, size, golden):
    image = published.image(96, 128, 2).requires_grad_()
    backbone.train().zero_grad()
    loss = sum((level**2).mean() for level in backbone(image))
    loss.backward()

    np.testing.assert_allclose(loss.item(), golden[f'{size}/backbone/loss'], rtol=1e-5)
    assert_within(image.grad[:, :, ::8, ::8].numpy(), golden[f'{size}/backbone/input_grad'], 1e-5)

    norms = dict(
        zip(
            golden[f'{size}/backbone/grad_names'].tolist(),
            golden[f'{size}/backbone/grad_norms'],
            strict=True,
        )
    )
    gradients = {name: p.grad for name, p in backbone.named_parameters()}
    native = {published_name: to_native_key(published_name) for published_name in norms}
    assert set(native.values()) == set(gradients)
    np.testing.assert_allclose(
        [gradients[native[name]].norm().item() for name in norms],
        list(norms.values()),
        rtol=1e-4,
        atol=1e-9,
    )
