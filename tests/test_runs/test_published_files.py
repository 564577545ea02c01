"""`test` with complete checkpoints of the published code (mmcv 1.x), made from its key lists."""

import json

import cv2
import numpy as np
import published
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from casvit.cli.main import run_tool
from casvit_mm.models.checkpoint import load_into, read_checkpoint

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

META = dict(
    mmcv_version='1.5.3',
    mmdet_version='2.24.1',
    mmseg_version='0.24.1',
    time='Sun Aug 11 03:14:15 2024',
    epoch=12,
    iter=87960,
    config="model = dict(type='RetinaNet', backbone=dict(type='rcvit_xs_feat'))\n",
)


def published_file(folder, head, classes, size='xs'):
    weights = {f'backbone.{k}': v for k, v in published.weights(size, 'backbone').items()}
    weights |= published.weights(size, f'{head}_neck_and_head')
    meta = {**META, 'CLASSES': classes, 'PALETTE': [[1, 2, 3]] * len(classes)}
    optimizer = dict(state={0: dict(step=1)}, param_groups=[dict(lr=2e-4)])
    file = folder / f'{head}.pth'
    torch.save(dict(meta=meta, state_dict=weights, optimizer=optimizer), file)
    return file


def what_was_said_of(file, work_dir):
    """The lines of the log that name a file."""
    log = next(work_dir.rglob('*.log')).read_text()
    lines = [line for line in log.splitlines() if str(file) in line]
    assert any('Loaded checkpoint' in line for line in lines)
    return '\n'.join(lines)


def images(folder, number=2, height=48, width=64):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(number):
        noise = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f'{index:012d}.jpg'), noise)


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """Two images in COCO format, with all 80 categories."""
    from mmdet.datasets import CocoDataset

    root = tmp_path_factory.mktemp('coco')
    images(root / 'val2017')
    names = CocoDataset.METAINFO['classes']
    square = [4.0, 4.0, 20.0, 4.0, 20.0, 20.0, 4.0, 20.0]
    content = dict(
        images=[
            dict(id=index, file_name=f'{index:012d}.jpg', height=48, width=64) for index in range(2)
        ],
        annotations=[
            dict(
                id=index + 1,
                image_id=index,
                category_id=1,
                bbox=[4.0, 4.0, 16.0, 16.0],
                area=256.0,
                iscrowd=0,
                segmentation=[square],
            )
            for index in range(2)
        ],
        categories=[dict(id=index + 1, name=name) for index, name in enumerate(names)],
    )
    (root / 'annotations').mkdir()
    (root / 'annotations/instances_val2017.json').write_text(json.dumps(content))
    return root


@pytest.mark.parametrize('head', ['retinanet', 'mask_rcnn'])
def test_a_published_detector_is_tested_as_it_is(head, coco, tmp_path):
    from mmdet.datasets import CocoDataset

    file = published_file(tmp_path, head, CocoDataset.METAINFO['classes'])
    arguments = [
        f'{head}_casvit-xs_fpn_1x_coco',
        str(file),
        '--data-root',
        str(coco),
        '--work-dir',
        str(tmp_path / 'work'),
        '--cfg-options',
        'test_dataloader.dataset.pipeline.1.scale=(96,96)',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    ]
    assert run_tool('test', arguments) == 0
    said = what_was_said_of(file, tmp_path / 'work')
    assert 'missing' not in said and 'unexpected' not in said, 'every key is used'
    assert ('left out norm0' in said) == (head == 'retinanet')


def test_a_published_segmentor_is_tested_as_it_is(tmp_path):
    from mmseg.datasets import ADE20KDataset

    root = tmp_path / 'ade'
    images(root / 'images/validation')
    labels = root / 'annotations/validation'
    labels.mkdir(parents=True)
    for index in range(2):
        values = np.random.default_rng(index).integers(0, 151, (48, 64)).astype(np.uint8)
        cv2.imwrite(str(labels / f'{index:012d}.png'), values)
    file = published_file(tmp_path, 'semantic_fpn', ADE20KDataset.METAINFO['classes'])
    arguments = [
        'semantic_fpn_casvit-xs_40k_ade20k-512x512',
        str(file),
        '--data-root',
        str(root),
        '--work-dir',
        str(tmp_path / 'work'),
        '--cfg-options',
        'test_dataloader.dataset.pipeline.1.scale=(128,96)',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    ]
    assert run_tool('test', [*arguments]) == 0
    said = what_was_said_of(file, tmp_path / 'work')
    assert 'missing' not in said and 'unexpected' not in said, 'every key is used'


@pytest.mark.parametrize('size', ['s', 'm', 't'])
@pytest.mark.parametrize(
    'name',
    [
        'detection/retinanet_casvit-{}_fpn_1x_coco',
        'detection/mask_rcnn_casvit-{}_fpn_1x_coco',
        'segmentation/semantic_fpn_casvit-{}_40k_ade20k-512x512',
    ],
)
def test_a_published_checkpoint_of_every_size_fills_its_model(name, size, configs, tmp_path):
    cfg = Config.fromfile(configs / f'{name.format(size)}.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    head = name.split('/')[1].split('_casvit')[0]
    file = published_file(tmp_path, head, ['thing'], size)
    load_into(model, read_checkpoint(file), strict=True, source=str(file))
    theirs = published.weights(size, f'{head}_neck_and_head')
    state = model.state_dict()
    same = [key for key, value in theirs.items() if key in state and torch.equal(state[key], value)]
    assert len(same) == len(theirs), 'neck and head keep their published names'
