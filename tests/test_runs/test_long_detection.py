"""Runs of minutes whose results the README quotes: ``make long``."""

import json
import re
import shutil
import statistics

import pytest
from long_runs import REPOSITORY, reached, report, scalars, tool

from casvit_mm.engine.checkpoints import noted_checkpoint

pytestmark = pytest.mark.long


def test_the_mask_rcnn_demo_reaches_its_precision_from_random_weights(trained_demo, capsys):
    boxes, masks = reached(trained_demo.work_dir, 'coco/bbox_mAP', 'coco/segm_mAP')
    report(
        capsys, f'Mask R-CNN demo: box AP {boxes}, mask AP {masks} in {trained_demo.seconds:.0f} s'
    )
    assert boxes >= 0.60 and masks >= 0.55


def test_the_retinanet_demo_reaches_its_precision_from_random_weights(tmp_path, capsys):
    _, seconds = tool('train', 'retinanet_casvit-xs_demo_shapes', '--work-dir', tmp_path)
    (boxes,) = reached(tmp_path, 'coco/bbox_mAP')
    report(capsys, f'RetinaNet demo: box AP {boxes} in {seconds:.0f} s')
    assert boxes >= 0.50


# Changes to the recipe with which a few hundred iterations from random weights show progress.
FROM_SCRATCH = {
    'mask_rcnn': """
model = dict(test_cfg=dict(rcnn=dict(score_thr=0.0)))
train_dataloader = dict(batch_size=2)
train_cfg = dict(max_epochs=2)
warm_up, steps = _base_.param_scheduler
param_scheduler = [dict(warm_up, end=20), steps]
optim_wrapper = dict(optimizer=dict(lr=5e-4))
""",
    # Its neck and head have no norms, and hardly learn from random weights without them.
    'retinanet': """
model = dict(
    neck=dict(norm_cfg=dict(type='BN')),
    bbox_head=dict(norm_cfg=dict(type='GN', num_groups=32)),
    test_cfg=dict(score_thr=0.0),
)
train_dataloader = dict(batch_size=4)
epochs = 16
train_cfg = dict(max_epochs=epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=epochs,
        T_max=epochs,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    optimizer=dict(lr=5e-3, betas=(0.9, 0.99), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(bbox_head=dict(lr_mult=0.08), fpn_convs=dict(lr_mult=0.1))
    ),
)
speed = dict(channels_last=True)
""",
}


@pytest.mark.parametrize('head', FROM_SCRATCH)
def test_the_published_config_trains_from_scratch_on_real_images(
    head, photographs, tmp_path, capsys
):
    name = f'{head}_casvit-xs_fpn_1x_coco'
    config = tmp_path / f'{name}.py'
    config.write_text(f'_base_ = "{REPOSITORY}/configs/detection/{name}.py"\n{FROM_SCRATCH[head]}')
    root, work = photographs / 'coco_mini', tmp_path / 'train'
    _, seconds = tool(
        'train',
        config,
        '--from-scratch',
        '--data-root',
        root,
        '--work-dir',
        work,
        '--cfg-options',
        'train_dataloader.dataset.pipeline.2.scale=(320,320)',
        'val_dataloader.dataset.pipeline.1.scale=(320,320)',
        'test_dataloader.dataset.pipeline.1.scale=(320,320)',
        'default_hooks.logger.interval=1',
        'log_processor.window_size=1',
        'train_dataloader.num_workers=1',
        'train_cfg.val_begin=100',
    )
    losses = [line['loss'] for line in scalars(work) if 'loss' in line]
    first, last = statistics.median(losses[:20]), statistics.median(losses[-20:])
    report(
        capsys,
        f'{name}: median loss {first:.3f} -> {last:.3f} ({last / first:.2f}) in '
        f'{len(losses)} iterations, {seconds:.0f} s',
    )
    assert last <= 0.7 * first

    trained = work / config.name, noted_checkpoint(work)
    said, _ = tool('test', *trained, '--work-dir', tmp_path / 'test')
    table = re.findall(r'^(?:box|mask) .*', said, re.MULTILINE)
    assert len(table) == (2 if head == 'mask_rcnn' else 1), 'one line for boxes, one for masks'
    report(capsys, '\n'.join(table))

    few, out = tmp_path / 'few', tmp_path / 'images'
    few.mkdir()
    for photograph in sorted((root / 'val2017').iterdir())[:8]:
        shutil.copy(photograph, few)
    tool('image_demo', few, *trained, '--out-dir', out, '--score-thr', '0.05')
    names = {path.stem for path in few.iterdir()}
    assert {path.stem for path in out.glob('*.jpg')} == names
    found = [record for file in out.glob('*.json') for record in json.loads(file.read_text())]
    report(capsys, f'{len(found)} detections drawn on {len(names)} images: {out}')
    assert found


def test_the_detector_can_overfit_a_few_images(photographs, tmp_path, capsys):
    """Overfits 8 images, which a wrong target, mask or box conversion would prevent."""
    root = photographs / 'coco_mini'
    annotations = json.loads((root / 'annotations/instances_train2017.json').read_text())
    chosen = few_classes(annotations)
    (tmp_path / 'eight.json').write_text(json.dumps(chosen))
    classes = tuple(category['name'] for category in chosen['categories'])
    config = tmp_path / 'overfit.py'
    config.write_text(
        OVERFIT.format(
            base=REPOSITORY / 'configs/detection/mask_rcnn_casvit-xs_demo_shapes.py',
            classes=classes,
            number=len(classes),
            annotations=tmp_path / 'eight.json',
            root=root,
        )
    )
    _, seconds = tool('train', config, '--work-dir', tmp_path / 'work')
    boxes, masks = reached(tmp_path / 'work', 'coco/bbox_mAP', 'coco/segm_mAP')
    report(
        capsys,
        f'8 images of {classes}: train box AP {boxes}, mask AP {masks} in {seconds:.0f} s',
    )
    assert boxes >= 0.5


def few_classes(annotations, images=8, classes=3):
    """The first images with only a few classes, at most 6 objects and no crowds."""
    objects = {}
    for annotation in annotations['annotations']:
        objects.setdefault(annotation['image_id'], []).append(annotation)
    counts = {}
    for found in objects.values():
        for category in {a['category_id'] for a in found}:
            counts[category] = counts.get(category, 0) + 1
    common = sorted(counts, key=counts.get, reverse=True)[:classes]
    ids = sorted(
        image
        for image, found in objects.items()
        if len(found) <= 6
        and not any(a['iscrowd'] for a in found)
        and any(a['category_id'] in common for a in found)
    )[:images]
    return dict(
        images=[image for image in annotations['images'] if image['id'] in ids],
        annotations=[
            a
            for a in annotations['annotations']
            if a['image_id'] in ids and a['category_id'] in common
        ],
        categories=[c for c in annotations['categories'] if c['id'] in common],
    )


OVERFIT = """
_base_ = "{base}"
classes = {classes!r}
model = dict(
    roi_head=dict(bbox_head=dict(num_classes={number}), mask_head=dict(num_classes={number})),
    rpn_head=dict(anchor_generator=dict(scales=[4, 8], ratios=[0.5, 1.0, 2.0])))
dataset = dict(
    type='CocoDataset', data_root='{root}/', ann_file='{annotations}',
    data_prefix=dict(img='train2017/'), metainfo=dict(classes=classes))
resize = dict(type='Resize', scale=(320, 320), keep_ratio=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    resize, dict(type='PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'), resize,
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=_base_.meta_keys)]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(_delete_=True, type='RepeatDataset', times=50,
                 dataset=dict(dataset, pipeline=train_pipeline)))
val_dataloader = dict(
    dataset=dict(dataset, _delete_=True, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file="{annotations}")
test_evaluator = val_evaluator
warm_up, cosine = _base_.param_scheduler
param_scheduler = [warm_up, dict(cosine, end=4, T_max=4)]
train_cfg = dict(max_epochs=4, val_interval=4)
"""
