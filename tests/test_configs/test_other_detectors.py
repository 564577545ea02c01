"""Detectors beyond the paper: each builds, learns and predicts."""

import random

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from small_models import with_one_layer

from casvit_mm.datasets.shapes import objects as shapes

mmdet_registry = pytest.importorskip('mmdet.registry')

CONFIGS = {
    'cascade_mask_rcnn_casvit-s_fpn_1x_coco': 'cascade_mask_rcnn_casvit',
    'cascade_mask_rcnn_casvit-m_fpn_1x_coco': 'cascade_mask_rcnn_casvit',
    'rtmdet_casvit-s_8xb32-300e_coco': 'rtmdet_casvit',
    'rtmdet_casvit-m_8xb32-300e_coco': 'rtmdet_casvit',
    'rtmdet_ins_casvit-s_8xb32-300e_coco': 'rtmdet_ins_casvit',
    'rtmdet_ins_casvit-m_8xb32-300e_coco': 'rtmdet_ins_casvit',
    'fcos_casvit-s_fpn_1x_coco': 'fcos_casvit',
    'fcos_casvit-m_fpn_1x_coco': 'fcos_casvit',
    'dino_casvit-s_8xb2-12e_coco': 'dino_casvit',
    'dino_casvit-m_8xb2-12e_coco': 'dino_casvit',
    'mask2former_casvit-s_8xb2-lsj-50e_coco': 'mask2former_casvit',
    'mask2former_casvit-m_8xb2-lsj-50e_coco': 'mask2former_casvit',
}
# The larger of the heads that take seconds differ only in the size of the backbone.
TRIED = [name for name in CONFIGS if '-s_' in name or name.startswith(('cascade', 'rtmdet_casvit'))]
WITH_MASKS = ('cascade_mask', 'rtmdet_ins', 'mask2former')
SIDE = 128
# DINO chooses 900 positions of an image.
SIDES = {'dino': 224}


def read(configs, name):
    return Config.fromfile(configs / 'detection' / f'{name}.py')


def sample(with_mask, side=SIDE):
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    shape = (side, side)
    found = DetDataSample(
        metainfo=dict(
            img_shape=shape,
            ori_shape=shape,
            pad_shape=shape,
            batch_input_shape=shape,
            scale_factor=(1.0, 1.0),
        )
    )
    masks = torch.zeros(1, side, side, dtype=torch.uint8)
    masks[0, 20:90, 30:100] = 1
    found.gt_instances = InstanceData(
        bboxes=torch.tensor([[30.0, 20.0, 100.0, 90.0]]),
        labels=torch.tensor([7]),
    )
    if with_mask:
        found.gt_instances.masks = BitmapMasks(masks.numpy(), side, side)
    found.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0))
    return found


@pytest.mark.parametrize('name', TRIED)
def test_a_config_builds_learns_and_predicts(name, configs):
    cfg = read(configs, name)
    init_default_scope('mmdet')
    cfg.model.backbone.init_cfg = None
    with_one_layer(cfg.model)
    with_mask, side = name.startswith(WITH_MASKS), SIDES.get(name.split('_')[0], SIDE)
    torch.manual_seed(0)
    model = revert_sync_batchnorm(mmdet_registry.MODELS.build(cfg.model))
    # The embeddings of DINO are whatever was in memory before.
    model.init_weights()
    images = torch.rand(2, 3, side, side)
    samples = [sample(with_mask, side), sample(with_mask, side)]
    losses = model.train()(images, samples, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in model.backbone.parameters())
    with torch.no_grad():
        answers = model.eval()(images, samples, mode='predict')
    found = answers[0].pred_instances
    assert found.bboxes.shape[1] == 4
    assert ('masks' in found) == with_mask


def test_the_cascade_differs_from_mask_rcnn_only_in_its_heads(configs):
    cascade = read(configs, 'cascade_mask_rcnn_casvit')
    single = read(configs, 'mask_rcnn_casvit')
    assert cascade.model.backbone == single.model.backbone
    assert cascade.model.neck == single.model.neck
    assert cascade.optim_wrapper == single.optim_wrapper
    stages = cascade.model.train_cfg.rcnn
    assert [stage.assigner.pos_iou_thr for stage in stages] == [0.5, 0.6, 0.7]
    heads = cascade.model.roi_head.bbox_head
    assert [head.bbox_coder.target_stds[0] for head in heads] == [0.1, 0.05, 0.033]
    assert all(head.num_classes == 80 and head.reg_class_agnostic for head in heads)


def test_rtmdet_trains_on_single_images_in_its_last_epochs(configs):
    cfg = read(configs, 'rtmdet_casvit')
    (switch,) = [hook for hook in cfg.custom_hooks if hook.type == 'PipelineSwitchHook']
    assert switch.switch_epoch == cfg.train_cfg.max_epochs - 20 == 280
    init_default_scope('mmdet')
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert 'CachedMosaic' in steps and 'CachedMixUp' in steps
    steps = [step.type for step in switch.switch_pipeline]
    assert 'CachedMosaic' not in steps and 'CachedMixUp' not in steps
    for step in (*cfg.train_dataloader.dataset.pipeline, *switch.switch_pipeline):
        mmdet_registry.TRANSFORMS.build(step)
    assert {hook.type for hook in cfg.custom_hooks} >= {'EMAHook', 'NumClassCheckHook'}


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp('drawn')
    shapes.generate(root, num_train=6, num_val=2, size=96, progress=False)
    return root


@pytest.mark.parametrize('name', sorted({*CONFIGS.values()}))
def test_images_of_a_family_come_out_of_its_pipelines(name, configs, drawn):
    from mmdet.datasets import CocoDataset

    cfg = read(configs, name)
    init_default_scope('mmdet')
    switch = [hook.switch_pipeline for hook in cfg.custom_hooks if 'switch_pipeline' in hook]
    pipelines = [cfg[f'{split}_dataloader'].dataset.pipeline for split in ('train', 'test')]
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    for pipeline in (*pipelines, *switch):
        dataset = CocoDataset(
            ann_file=str(drawn / 'annotations/instances_train.json'),
            data_prefix=dict(img=str(drawn / 'train')),
            metainfo=dict(classes=shapes.CLASSES),
            pipeline=pipeline,
        )
        for index in range(4):
            sample = dataset[index]
            objects = sample['data_samples'].gt_instances
            assert sample['inputs'].dtype == torch.uint8 or cfg.model.type == 'Mask2Former'
            assert ('masks' in objects) == name.startswith(WITH_MASKS)
            # In testing, annotations are loaded after the image is resized.
            if 'masks' in objects and pipeline is not pipelines[1]:
                masks = objects.masks.to_ndarray()
                assert masks.shape == (len(objects.bboxes), *sample['inputs'].shape[1:])


def test_every_config_beyond_the_paper_is_in_the_table(configs):
    names = {file.stem for file in (configs / 'detection').glob('*.py')}
    beyond = {name for name in names if not name.startswith(('mask_rcnn', 'retinanet'))}
    # The light family has a table of its own.
    beyond = {name for name in beyond if 'light' not in name}
    assert beyond == {*CONFIGS, *CONFIGS.values()}
