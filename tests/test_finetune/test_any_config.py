"""Configs of any detector and segmentor: one step of training and one prediction of each."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, init_default_scope

from casvit.errors import CliError
from casvit_mm.config.read import load_config
from casvit_mm.config.view import ConfigView
from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.data import OwnData, OwnSplit
from casvit_mm.finetune.plan import Plan

mmdet = pytest.importorskip('mmdet')
mmseg = pytest.importorskip('mmseg')
CHANNELS = [48, 56, 112, 220]
LARGE = pytest.mark.long
DETECTORS = [
    ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco', 'detection', 0),
    pytest.param('rtmdet/rtmdet_tiny_8xb32-300e_coco', 'detection', 1, marks=LARGE),
    ('rtmdet/rtmdet-ins_tiny_8xb32-300e_coco', 'instance', 1),
    ('solov2/solov2-light_r18_fpn_ms-3x_coco', 'instance', 0),
    pytest.param('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', 'detection', 0, marks=LARGE),
    pytest.param('cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco', 'instance', 0, marks=LARGE),
    pytest.param('condinst/condinst_r50_fpn_ms-poly-90k_coco_instance', 'instance', 0, marks=LARGE),
    pytest.param('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco', 'detection', 0, marks=LARGE),
    pytest.param('dino/dino-4scale_r50_8xb2-12e_coco', 'detection', 1, marks=LARGE),
    pytest.param('mask2former/mask2former_r50_8xb2-lsj-50e_coco', 'instance', 0, marks=LARGE),
]
SEGMENTORS = [
    ('fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024', 2),
    pytest.param('pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024', 2, marks=LARGE),
    pytest.param('ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024', 0, marks=LARGE),
    pytest.param('mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024', 0, marks=LARGE),
]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A few images, the first of them without objects."""
    root = tmp_path_factory.mktemp('shapes')
    shapes.generate(root, num_train=6, num_val=2, size=96, progress=False)
    file = root / 'annotations/instances_train.json'
    content = json.loads(file.read_text())
    first = content['images'][0]['id']
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != first]
    file.write_text(json.dumps(content))
    return root


def with_casvit(module, name, file, first=0, **changes):
    """A config of a toolbox with a CAS-ViT as its backbone, from a stage on."""
    shipped = Path(module.__file__).parent / '.mim/configs' / f'{name}.py'
    if not shipped.is_file():
        pytest.skip(f'{name} does not come with this line of OpenMMLab')
    stages = tuple(range(first, 4))
    backbone = dict(_delete_=True, type='CASViT', arch='xs', out_indices=stages)
    model = dict(backbone=backbone, **changes)
    file.write_text(
        f"_base_ = {str(shipped)!r}\ncustom_imports = dict(imports=['casvit_mm'])\n"
        f'model = {model!r}\n'
    )
    return load_config(str(file))


def parsed(plan, folder):
    file = folder / 'config.py'
    file.write_text(config_text(plan))
    return Config.fromfile(file)


def losses_and_prediction(cfg):
    init_default_scope(cfg.default_scope)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    train, test = (DATASETS.build(cfg[f'{s}_dataloader'].dataset) for s in ('train', 'test'))
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    batch = model.data_preprocessor(pseudo_collate([train[0], train[1]]), True)
    losses = model(**batch, mode='loss')
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    model.eval()
    with torch.no_grad():
        (sample,) = model.test_step(pseudo_collate([test[0]]))
    return losses, sample


def object_plan(base, task, root, folder, image_size=96):
    splits = {
        name: OwnSplit(root / f'annotations/instances_{name}.json', root / name, 6)
        for name in ('train', 'val')
    }
    own = OwnData(list(shapes.CLASSES), [(0, 0, 0)] * len(shapes.CLASSES), splits, 255, [], True)
    return Plan(*(root, base, own, task, folder), image_size=image_size)


@pytest.mark.parametrize(('name', 'task', 'first'), DETECTORS)
def test_any_detector_with_a_casvit_trains_and_predicts(name, task, first, root, tmp_path):
    neck = dict(in_channels=CHANNELS[first:])
    changes = {}
    if name.startswith('mask2former'):
        changes = dict(panoptic_head=dict(in_channels=CHANNELS))
    else:
        changes = dict(neck=neck)
    base = with_casvit(mmdet, name, tmp_path / 'own.py', first, **changes)
    assert ConfigView(base).task == task
    # DINO chooses 900 places of an image.
    image_size = 320 if name.startswith('dino') else 96
    cfg = parsed(object_plan(base, task, root, tmp_path, image_size), tmp_path)
    assert {count for _, count in ConfigView(cfg).class_counts()} <= {len(shapes.CLASSES)}
    metric = ['bbox', 'segm'] if task == 'instance' else 'bbox'
    assert cfg.val_evaluator.type == 'CocoMetric' and cfg.val_evaluator.metric == metric
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop' and 'max_iters' not in cfg.train_cfg
    _, sample = losses_and_prediction(cfg)
    found = sample.pred_instances
    assert ('masks' in found) == (task == 'instance')
    assert not len(found) or int(found.labels.max()) < len(shapes.CLASSES)


@pytest.mark.parametrize(('name', 'auxiliary'), SEGMENTORS)
def test_any_segmentor_with_a_casvit_trains_and_predicts(name, auxiliary, root, tmp_path):
    folder, classes = tmp_path, ('ground', *shapes.CLASSES)
    splits = {}
    for split in ('train', 'val'):
        records = [
            dict(img_path=str(image), seg_map_path=str(root / f'labels/{split}/{image.stem}.png'))
            for image in sorted((root / split).glob('*.jpg'))
        ]
        (folder / f'{split}.json').write_text(json.dumps(records))
        splits[split] = OwnSplit(folder / f'{split}.json', root, len(records))
    own = OwnData(list(classes), [(0, 0, 0)] * len(classes), splits, 255, [])
    decode = dict(in_channels=CHANNELS[3], in_index=3)
    auxiliary_head = dict(in_channels=CHANNELS[auxiliary], in_index=auxiliary)
    changes = dict(decode_head=decode, auxiliary_head=auxiliary_head)
    if name.startswith('ocrnet'):
        norm = dict(type='BN')
        common = dict(in_index=(0, 1, 2, 3), in_channels=CHANNELS, norm_cfg=norm)
        common.update(input_transform='resize_concat', channels=32, num_classes=19)
        heads = [dict(type='FCNHead', num_convs=1, **common)]
        heads.append(dict(type='OCRHead', ocr_channels=16, **common))
        changes = dict(decode_head=heads)
    if name.startswith('mask2former'):
        changes = dict(decode_head=dict(in_channels=CHANNELS))
    base = with_casvit(mmseg, name, tmp_path / 'own.py', **changes)
    plan = Plan(*(root, base, own, 'semantic', folder), image_size=96)
    cfg = parsed(plan, tmp_path)
    counts = list(ConfigView(cfg).class_counts())
    assert counts and {count for _, count in counts} == {len(classes)}
    _, sample = losses_and_prediction(cfg)
    assert int(sample.pred_sem_seg.data.max()) < len(classes)
    assert np.asarray(sample.pred_sem_seg.data).shape[-2:] == (96, 96)


def test_panoptic_and_hybrid_configs_are_refused_in_a_sentence(root, tmp_path):
    name = 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic'
    base = with_casvit(mmdet, name, tmp_path / 'own.py')
    with pytest.raises(CliError, match='panoptic or hybrid segmentation'):
        config_text(object_plan(base, 'instance', root, tmp_path))
    base = with_casvit(mmdet, 'htc/htc_r50_fpn_1x_coco', tmp_path / 'own.py')
    with pytest.raises(CliError, match='panoptic or hybrid segmentation'):
        config_text(object_plan(base, 'instance', root, tmp_path))
