"""Batches that are too small for the norms of a model are found out before it trains."""

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from casvit_mm.config.read import load_config
from casvit_mm.engine.batches import BatchTooSmallError, require_batches, smallest_batch

POOLED = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))


def test_norms_of_pooled_features_need_two_images_and_gates_do_not():
    norm = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    assert smallest_batch(nn.Sequential(nn.AdaptiveAvgPool2d(1), norm)) == 2
    assert smallest_batch(nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.SyncBatchNorm(4))) == 2
    assert smallest_batch(nn.Sequential(nn.AdaptiveAvgPool2d(2), norm)) == 1
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
    assert smallest_batch(nn.Sequential(gate, norm)) == 1
    pytest.importorskip('mmseg')
    cfg = load_config('upernet_casvit-s_80k_ade20k-512x512')
    cfg.model.decode_head.channels = cfg.model.auxiliary_head.channels = 8
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmseg')
    assert smallest_batch(MODELS.build(cfg.model)) == 2


def loader(images, batch_size, sampler=DefaultSampler, drop_last=False):
    data = list(range(images))
    options = dict(batch_size=batch_size, drop_last=drop_last)
    return DataLoader(data, sampler=sampler(data), **options)


def test_a_batch_of_one_is_refused_before_a_model_of_pooled_features_trains():
    with pytest.raises(BatchTooSmallError, match=r'batch_size=1 is too small.*batch_size=2'):
        require_batches(POOLED, loader(8, 1))
    require_batches(POOLED, loader(8, 2))
    require_batches(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), loader(8, 1))


def test_a_last_batch_of_one_is_refused_if_the_run_reaches_it():
    with pytest.raises(BatchTooSmallError, match=r'1 of the 9 images.*drop_last=True'):
        require_batches(POOLED, loader(9, 4))
    with pytest.raises(BatchTooSmallError, match='1 of the 9 images'):
        require_batches(POOLED, loader(9, 4), steps=3)
    require_batches(POOLED, loader(9, 4), steps=2)
    require_batches(POOLED, loader(9, 4, drop_last=True))
    require_batches(POOLED, loader(9, 4, InfiniteSampler))
    require_batches(POOLED, loader(10, 4))


def test_batches_of_a_sampler_are_looked_at_too():
    class Pairs(BatchSampler):
        """A sampler that mmdet's and ours derive from."""

    data = list(range(9))
    batches = Pairs(DefaultSampler(data), batch_size=8, drop_last=False)
    with pytest.raises(BatchTooSmallError, match='1 of the 9 images'):
        require_batches(POOLED, DataLoader(data, batch_sampler=batches))
