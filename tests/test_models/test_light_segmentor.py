"""The light segmentor finds the same classes as mmseg's, without enlarging all of them."""

import pytest
import torch
from torch.nn import functional

pytest.importorskip('mmseg')
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmseg.structures import SegDataSample

from casvit_mm.models.light_segmentor import possible_winners, winners

SIDE = 64


@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(2, 40), st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    align_corners=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_winner_is_that_of_all_enlarged_logits(seed, shape, size, align_corners):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    enlarged = functional.interpolate(
        logits[None], size, mode='bilinear', align_corners=align_corners
    )[0]
    chosen = winners(logits, size, align_corners)
    # Sums in another order may differ in the last digit where two classes are equal.
    reached = enlarged.gather(0, chosen[None])[0]
    assert chosen.shape == size
    torch.testing.assert_close(reached, enlarged.amax(0), atol=1e-5, rtol=1e-5)


def test_classes_that_win_nowhere_are_dropped():
    logits = torch.zeros(5, 4, 4)
    logits[1, :, :2] = logits[3, :, 2:] = 3.0
    assert possible_winners(logits).tolist() == [1, 3]
    # Half-way between the two, both are at 1.5: a class may win there that wins at no position.
    logits[4] = 2.0
    assert possible_winners(logits).tolist() == [1, 3, 4]
    assert 4 in winners(logits, (16, 16))


@pytest.fixture(scope='module')
def models(configs):
    """The light segmentor, and mmseg's with the same weights."""
    cfg = Config.fromfile(configs / 'segmentation' / 'semantic_fpn_casvit_light.py')
    cfg.model.backbone.init_cfg = None
    found = []
    for kind in ('LightEncoderDecoder', 'EncoderDecoder'):
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmseg'):
            model = MODELS.build({**cfg.model, 'type': kind})
        found.append(revert_sync_batchnorm(model).eval())
    return found


def predict(model, **meta):
    torch.manual_seed(1)
    images = torch.randn(2, 3, SIDE, SIDE)
    shape = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'), (SIDE, SIDE))
    with torch.no_grad():
        return model.predict(images, [SegDataSample(metainfo=shape | meta) for _ in images])


def test_predictions_are_those_of_mmseg(models):
    for light, stock in zip(*map(predict, models), strict=True):
        assert torch.equal(light.pred_sem_seg.data, stock.pred_sem_seg.data)
        assert 'seg_logits' not in light
        assert len(light.pred_sem_seg.data.unique()) > 1


def test_predictions_have_the_size_of_the_image(models):
    (light, _), (stock, _) = (predict(model, ori_shape=(50, 90)) for model in models)
    assert light.pred_sem_seg.data.shape == (1, 50, 90)
    # Once enlarged, or twice, makes a difference at borders only.
    same = light.pred_sem_seg.data == stock.pred_sem_seg.data
    assert same.float().mean() > 0.9


@pytest.mark.parametrize('meta', [dict(flip=False), dict(padding_size=[0, 6, 0, 4])])
def test_test_time_augmentation_and_padding_get_the_logits_of_mmseg(models, meta):
    for light, stock in zip(*(predict(model, **meta) for model in models), strict=True):
        assert torch.equal(light.seg_logits.data, stock.seg_logits.data)


def test_images_without_samples_are_predicted_in_their_own_size(models):
    with torch.no_grad():
        (sample,) = models[0].predict(torch.rand(1, 3, SIDE, 96))
    assert sample.pred_sem_seg.data.shape == (1, SIDE, 96)
