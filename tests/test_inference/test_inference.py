"""Where a trained model gets its pipeline and class names from."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from small_models import DEMOS, write_checkpoint

from casvit import Predictor
from casvit_mm.config.view import ConfigView
from casvit_mm.inference.image_model import ImageModel

LEAF = dict(type='CocoDataset', pipeline=[dict(type='LoadImageFromFile')])
CLASSES = ['a', 'b', 'c', 'd', 'e', 'f']


def wrapped(*kinds):
    dataset = LEAF
    for kind in kinds:
        if kind == 'ConcatDataset':
            dataset = dict(type=kind, datasets=[dataset, dict(LEAF, type='Other')])
        else:
            dataset = dict(type=kind, dataset=dataset)
    return dataset


@pytest.mark.parametrize(
    'kinds',
    [
        (),
        ('ConcatDataset',),
        ('RepeatDataset',),
        ('ClassBalancedDataset', 'ConcatDataset'),
        ('ConcatDataset', 'RepeatDataset', 'ConcatDataset'),
        ('RepeatDataset', 'RepeatDataset'),
    ],
    ids='-'.join,
)
def test_the_pipeline_is_that_of_the_first_dataset_inside_wrappers(kinds):
    cfg = Config(dict(test_dataloader=dict(dataset=wrapped(*kinds))))
    assert ConfigView(cfg).test_dataset().type == 'CocoDataset'


@pytest.mark.parametrize(
    'cfg',
    [
        {},
        dict(test_dataloader=None),
        dict(test_dataloader={}),
        dict(test_dataloader=dict(dataset=dict(type='CocoDataset'))),
        dict(test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[]))),
    ],
    ids=repr,
)
def test_datasets_without_a_pipeline_are_ignored(cfg):
    assert ConfigView(Config(cfg)).test_dataset() is None


@pytest.fixture(scope='module')
def segmentor(configs):
    """A config and random weights for it."""
    cfg = Config.fromfile(configs / 'segmentation/semantic_fpn_casvit-xs_demo_shapes.py')
    init_default_scope('mmseg')
    return cfg, revert_sync_batchnorm(MODELS.build(cfg.model)).state_dict()


def names(segmentor, tmp_path, meta, **dataset):
    cfg, weights = segmentor
    cfg = Config(cfg.to_dict())
    cfg.test_dataloader.dataset.update(dataset)
    torch.save({'state_dict': weights, 'meta': meta}, tmp_path / 'a.pth')
    model = ImageModel(str(tmp_path / 'a.pth'), cfg)
    assert len(model.palette) == len(model.classes)
    return list(model.classes)


def test_names_in_the_checkpoint_come_first_and_match_the_number_of_classes(segmentor, tmp_path):
    count = segmentor[0].model.decode_head.num_classes
    mine = [f'mine {index}' for index in range(count)]
    assert names(segmentor, tmp_path, {'dataset_meta': {'classes': mine}}) == mine
    of_dataset = names(segmentor, tmp_path, {})
    assert len(of_dataset) == count and 'circle' in of_dataset
    for odd in (mine[:-1], [*mine, 'more'], [], 'text', 3, None):
        assert names(segmentor, tmp_path, {'dataset_meta': {'classes': odd}}) == of_dataset
    assert names(segmentor, tmp_path, ['a']) == of_dataset


def test_classes_without_a_name_get_their_index(segmentor, tmp_path):
    found = names(segmentor, tmp_path, {}, metainfo=dict(classes=('one', 'two')))
    assert found[:3] == ['one', 'two', 'class 2']


def test_names_may_come_from_a_file(segmentor, tmp_path):
    (tmp_path / 'names.txt').write_text('\n'.join(CLASSES))
    found = names(segmentor, tmp_path, {}, metainfo=dict(classes=str(tmp_path / 'names.txt')))
    assert found[: len(CLASSES)] == CLASSES


def test_models_with_other_token_mixers_are_used_from_their_checkpoints(configs, tmp_path):
    cfg = Config.fromfile(configs / DEMOS['semantic'])
    names = ('SelfAttentionMixer', 'SeparableMixer', 'EfficientAdditiveMixer', 'PoolingMixer')
    cfg.model.backbone.mixer = [dict(type=name) for name in names]
    file = write_checkpoint(cfg, tmp_path / 'mixed.pth')
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    plain, fused = (Predictor(file, device='cpu', fuse=fuse) for fuse in (False, True))
    assert (plain(image).class_ids == fused(image).class_ids).mean() > 0.99
