"""Every config against a table written from the published recipe."""

import pytest
import torch
from mmengine import Config
from mmengine.registry import init_default_scope

from casvit_mm.models import ARCHITECTURES

mmdet_registry = pytest.importorskip('mmdet.registry')

CHANNELS = {
    'xs': [48, 56, 112, 220],
    's': [48, 64, 128, 256],
    'm': [64, 96, 192, 384],
    't': [96, 128, 256, 512],
}
DROP_PATH = {'xs': 0.0, 's': 0.0, 'm': 0.1, 't': 0.1}
HEADS = ('mask_rcnn', 'retinanet')
PUBLISHED = [
    (head, size, f'{head}_casvit-{size}_fpn_1x_coco') for head in HEADS for size in CHANNELS
]
PUBLISHED += [(head, 'm', f'{head}_casvit') for head in HEADS]


@pytest.fixture(scope='module', params=PUBLISHED, ids=lambda row: row[2])
def row(request, configs):
    head, size, name = request.param
    return head, size, Config.fromfile(configs / 'detection' / f'{name}.py')


def transform(pipeline, name):
    return next(step for step in pipeline if step['type'] == name)


def test_optimiser_is_the_published_one(row):
    wrapper = row[2].optim_wrapper
    assert wrapper.to_dict() == dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4)
    )


def test_schedule_is_the_published_one(row):
    cfg = row[2]
    assert cfg.train_cfg.max_epochs == 12
    warmup, steps = cfg.param_scheduler
    assert (warmup.type, warmup.start_factor, warmup.begin, warmup.end, warmup.by_epoch) == (
        'LinearLR',
        1e-6,
        0,
        500,
        False,
    )
    assert (steps.type, steps.milestones, steps.gamma, steps.end, steps.by_epoch) == (
        'MultiStepLR',
        [8, 11],
        0.1,
        12,
        True,
    )


def test_batch_is_8_gpus_of_4_images(row):
    cfg = row[2]
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.auto_scale_lr.to_dict() == dict(enable=False, base_batch_size=8 * 4)


def test_backbone_is_the_published_one(row):
    head, size, cfg = row
    backbone = cfg.model.backbone
    assert backbone.type == 'CASViT'
    assert backbone.arch == size
    assert backbone.drop_path_rate == DROP_PATH[size]
    assert backbone.norm_eval is True
    assert backbone.get('frozen_stages', -1) == -1
    assert backbone.out_indices == ((0, 1, 2, 3) if head == 'mask_rcnn' else (1, 2, 3))
    assert backbone.init_cfg.to_dict() == dict(
        type='Pretrained', checkpoint=f'casvit://cas-vit-{size}'
    )


def test_neck_is_the_published_one(row):
    head, size, cfg = row
    neck = cfg.model.neck
    assert (neck.type, neck.out_channels, neck.num_outs) == ('FPN', 256, 5)
    if head == 'mask_rcnn':
        assert neck.in_channels == CHANNELS[size]
        assert 'add_extra_convs' not in neck
    else:
        assert neck.in_channels == CHANNELS[size][1:]
        assert (neck.start_level, neck.add_extra_convs) == (0, 'on_input')


def test_anchors_and_heads_are_the_standard_ones(row):
    head, _, cfg = row
    model = cfg.model
    if head == 'retinanet':
        anchors = model.bbox_head.anchor_generator
        assert (anchors.octave_base_scale, anchors.scales_per_octave) == (4, 3)
        assert anchors.strides == [8, 16, 32, 64, 128]
        assert (model.bbox_head.num_classes, model.bbox_head.stacked_convs) == (80, 4)
        assert model.bbox_head.loss_bbox.type == 'L1Loss'
        assert (model.bbox_head.loss_cls.gamma, model.bbox_head.loss_cls.alpha) == (2.0, 0.25)
    else:
        anchors = model.rpn_head.anchor_generator
        assert (anchors.scales, anchors.strides) == ([8], [4, 8, 16, 32, 64])
        assert model.roi_head.bbox_head.num_classes == model.roi_head.mask_head.num_classes == 80
        assert model.train_cfg.rcnn.sampler.num == 512
        assert model.train_cfg.rpn.sampler.num == 256
    assert anchors.ratios == [0.5, 1.0, 2.0]
    assert model.test_cfg.get('rcnn', model.test_cfg).max_per_img == 100


def test_images_are_prepared_as_published(row):
    head, _, cfg = row
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == [123.675, 116.28, 103.53]
    assert preprocessor.std == [58.395, 57.12, 57.375]
    assert preprocessor.bgr_to_rgb is True
    assert preprocessor.pad_size_divisor == 32
    train = cfg.train_dataloader.dataset.pipeline
    test = cfg.test_dataloader.dataset.pipeline
    assert [step.type for step in train] == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'Resize',
        'RandomFlip',
        'PackDetInputs',
    ]
    for pipeline in (train, test):
        resize = transform(pipeline, 'Resize')
        assert (resize.scale, resize.keep_ratio) == ((1333, 800), True)
        assert transform(pipeline, 'LoadAnnotations').get('with_mask', False) == (
            head == 'mask_rcnn'
        )
    assert transform(train, 'RandomFlip').prob == 0.5
    assert not any(step.type == 'RandomFlip' for step in test)


def test_coco_is_read_and_evaluated_as_usual(row):
    head, _, cfg = row
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/instances_train2017.json'
    for split in ('val', 'test'):
        dataset, evaluator = cfg[f'{split}_dataloader'].dataset, cfg[f'{split}_evaluator']
        assert dataset.ann_file == 'annotations/instances_val2017.json'
        assert evaluator.ann_file == dataset.data_root + dataset.ann_file
        assert evaluator.metric == (['bbox', 'segm'] if head == 'mask_rcnn' else 'bbox')


def test_whole_detector_has_the_published_neck_and_head(row):
    import published

    head, size, cfg = row
    init_default_scope('mmdet')
    model = mmdet_registry.MODELS.build(cfg.model)
    shapes = {
        key: list(value.shape)
        for key, value in model.state_dict().items()
        if not key.startswith('backbone')
    }
    expected = published.weights(size, f'{head}_neck_and_head')
    assert shapes == {key: list(value.shape) for key, value in expected.items()}
    optimizer_sees = [p for p in model.parameters() if p.requires_grad]
    assert len(optimizer_sees) == len(list(model.parameters()))


def test_a_published_detector_checkpoint_loads_completely(row, tmp_path):
    import published

    from casvit_mm.models import load_into, read_checkpoint

    head, size, cfg = row
    weights = {f'backbone.{k}': v for k, v in published.weights(size, 'backbone').items()}
    weights |= published.weights(size, f'{head}_neck_and_head')
    torch.save({'meta': {'CLASSES': ('person',)}, 'state_dict': weights}, tmp_path / 'file.pth')
    init_default_scope('mmdet')
    model = mmdet_registry.MODELS.build(cfg.model)
    report = load_into(model, read_checkpoint(tmp_path / 'file.pth'), strict=True)
    assert not report.describe()
    assert bool(report.notes) == (head == 'retinanet')


def test_every_config_in_the_folder_is_in_a_table(configs):
    files = (configs / 'detection').glob('*.py')
    names = {file.stem for file in files if file.stem.startswith(HEADS)}
    # The light family has a table of its own.
    names = {name for name in names if 'light' not in name}
    demos = {name for name in names if 'demo' in name}
    assert names - demos == {name for _, _, name in PUBLISHED}
    assert demos == {f'{head}_casvit-xs_demo_shapes' for head in HEADS}


@pytest.mark.parametrize('head', HEADS)
def test_one_word_changes_the_size(head, configs, tmp_path):
    base = configs / 'detection' / f'{head}_casvit.py'
    text = base.read_text()
    assert text.count('casvit_sizes.m') == 1
    for size in ARCHITECTURES:
        child = tmp_path / f'{size}.py'
        child.write_text(f'_base_ = {str(base)!r}\nmodel = _base_.casvit_sizes.{size}\n')
        model = Config.fromfile(child).model
        channels = list(ARCHITECTURES[size].channels)
        assert model.backbone.arch == size
        assert model.neck.in_channels == channels[-len(model.neck.in_channels) :]
    assert model.backbone.init_cfg is None
