"""A user's config in plain mmengine style, which inherits nothing from the package."""

import json

import pytest
from mmengine.visualization import Visualizer

SCOPED = """
model = dict(
    type='mmdet.RetinaNet',
    data_preprocessor=dict(type='mmdet.DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(
        type='CASViT',
        arch=dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32)),
        out_indices=(1, 2, 3),
        norm_eval=False,
    ),
    neck=dict(type='mmdet.FPN', in_channels=[16, 24, 32], out_channels=16, num_outs=3),
    bbox_head=dict(
        type='mmdet.RetinaHead',
        num_classes=6,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        anchor_generator=dict(
            type='mmdet.AnchorGenerator', ratios=[1.0], scales=[4], strides=[8, 16, 32]),
        bbox_coder=dict(type='mmdet.DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='mmdet.FocalLoss'),
        loss_bbox=dict(type='mmdet.L1Loss'),
    ),
    train_cfg=dict(
        assigner=dict(type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0,
                      iou_calculator=dict(type='mmdet.BboxOverlaps2D')),
        sampler=dict(type='mmdet.PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
    ),
    test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
                  max_per_img=5),
)


def loader(split):
    return dict(
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='mmdet.CocoDataset',
            metainfo=dict(classes=CLASSES),
            data_root=ROOT,
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'{split}/'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='mmdet.LoadAnnotations', with_bbox=True),
                dict(type='mmdet.Resize', scale=(96, 96), keep_ratio=True),
                dict(type='mmdet.PackDetInputs',
                     meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
            ],
        ),
    )


train_dataloader = loader('train')
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
test_dataloader = loader('val')
test_cfg = dict()
test_evaluator = dict(
    type='mmdet.CocoMetric', metric='bbox', ann_file=ROOT + '/annotations/instances_val.json')
"""


@pytest.fixture(autouse=True)
def no_visualizer_is_left():
    """mmengine keeps one visualiser per process, which later runs would use."""
    yield
    kinds = [Visualizer]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()


@pytest.fixture
def write(shapes, tmp_path):
    """Writes the config without the lines that define some names, and with other lines."""
    classes = tuple(
        category['name']
        for category in json.loads((shapes / 'annotations/instances_val.json').read_text())[
            'categories'
        ]
    )

    def write(extra='', scope=None):
        text = SCOPED if scope is None else SCOPED.replace('mmdet.', '')
        head = f'CLASSES = {classes!r}\nROOT = {str(shapes)!r}\n'
        if scope is not None:
            head += f'default_scope = {scope!r}\n'
        path = tmp_path / 'minimal.py'
        path.write_text(f'{head}{text}{extra}\ndel loader\n')
        return path

    return write


@pytest.mark.parametrize('scope', [None, 'mmdet'])
def test_every_command_takes_a_config_that_inherits_nothing(scope, write, call, shapes, tmp_path):
    config = write(scope=scope)
    answer = call('train', config, '--work-dir', 'run')
    assert answer.code == 0, answer.err
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    assert checkpoint.is_file()
    image = next((shapes / 'val').iterdir())
    out = ['--out-dir', 'out']
    for command in (
        ('train', config, '--work-dir', 'run', '--resume'),
        ('train', config, '--work-dir', 'again', '--from-scratch', '--seed', '1'),
        ('test', config, checkpoint),
        ('test', config, checkpoint, '--out', 'raw.pkl', '--fuse'),
        ('test', config, checkpoint, '--format-only', 'server'),
        ('image_demo', image, config, checkpoint, *out),
        ('fuse', config, checkpoint, 'fused.pth'),
        ('get_flops', config, '--shape', '96', '96'),
        ('print_config', config),
        ('browse_dataset', config, '--out-dir', 'drawn'),
    ):
        answer = call(*command)
        assert answer.code == 0, f'{command[0]}: {answer.err}'


def test_resuming_through_the_config_starts_and_then_continues(write, call, tmp_path):
    config = write('resume = True\n', scope='mmdet')
    assert call('train', config, '--work-dir', 'run').code == 0
    options = ['--cfg-options', 'train_cfg.max_epochs=2']
    answer = call('train', config, '--work-dir', 'run', *options)
    assert answer.code == 0, answer.err
    assert 'continues after epoch 1' in answer.out
    assert (tmp_path / 'run' / 'epoch_2.pth').is_file()


def test_a_run_without_its_pretrained_weights_can_resume_but_not_start(write, call, tmp_path):
    """Whatever the config leaves out: `resume`, `load_from`."""
    config = write(scope='mmdet')
    assert call('train', config, '--work-dir', 'run').code == 0
    gone = "model['backbone']['init_cfg'] = [dict(type='Pretrained', checkpoint='gone.pth')]\n"
    config = write(f'resume = True\n{gone}', scope='mmdet')
    answer = call('train', config, '--work-dir', 'new')
    assert answer.code == 2
    assert '--cfg-options model.backbone.init_cfg.0.checkpoint=FILE' in answer.err
    answer = call('train', config, '--work-dir', 'run', '--cfg-options', 'train_cfg.max_epochs=2')
    assert answer.code == 0, answer.err


PARTS = ["model['backbone']", 'model']


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize(
    ('init_cfg', 'said'),
    [
        ("[dict(type='Pretrained', checkpoint='gone.pth')]", 'gone.pth'),
        ("(dict(type='Kaiming'), dict(type='Pretrained', checkpoint='gone.pth'))", 'gone.pth'),
        ("dict(type='mmengine.Pretrained', checkpoint='gone.pth')", 'gone.pth'),
        ("dict(type='Pretrained')", "expected dict(type='Pretrained', checkpoint=FILE)"),
        ("dict(type='Pretrained', checkpoint=3)", "expected dict(type='Pretrained'"),
        ("[dict(type='Pretrained', checkpoint='a', weights='best')]", "'model' or 'ema'"),
        ("'gone.pth'", 'expected a dict, or a list of dicts'),
        ("['gone.pth']", 'expected a dict, or a list of dicts'),
        ('3', 'expected a dict, or a list of dicts'),
    ],
)
def test_pretrained_weights_are_found_in_every_form_of_init_cfg(init_cfg, said, part, write, call):
    config = write(f"{part}['init_cfg'] = {init_cfg}\n", scope='mmdet')
    answer = call('train', config)
    assert answer.code == 2, answer.err
    assert said in answer.err
    assert 'Traceback' not in answer.err


def test_several_initialisations_train_test_and_start_from_scratch(write, call, tmp_path):
    config = write(scope='mmdet')
    assert call('train', config, '--work-dir', 'run').code == 0
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    several = (
        "model['backbone']['init_cfg'] = [dict(type='Kaiming', layer='Conv2d'), "
        f"dict(type='Pretrained', checkpoint={str(checkpoint)!r})]\n"
    )
    config = write(several, scope='mmdet')
    for command in (
        ('train', config, '--work-dir', 'several'),
        ('train', config, '--work-dir', 'scratch', '--from-scratch'),
        ('test', config, checkpoint),
        ('get_flops', config, '--shape', '96', '96'),
    ):
        answer = call(*command)
        assert answer.code == 0, f'{command[0]}: {answer.err}'


@pytest.mark.parametrize('removed', ['model', 'optim_wrapper', 'test_evaluator', 'test_dataloader'])
@pytest.mark.parametrize('command', ['train', 'test', 'image_demo', 'fuse', 'get_flops'])
def test_a_config_that_lacks_a_key_works_or_is_named(command, removed, write, call, tmp_path):
    config = write(f'del {removed}\n', scope='mmdet')
    (tmp_path / 'a.pth').touch()
    (tmp_path / 'a.jpg').touch()
    arguments = {
        'train': [config],
        'test': [config, 'a.pth'],
        'image_demo': ['a.jpg', config, 'a.pth'],
        'fuse': [config, 'a.pth', 'out.pth'],
        'get_flops': [config, '--shape', '64', '64'],
    }[command]
    answer = call(command, *arguments)
    assert answer.code in (0, 2), answer.err
    assert 'Traceback' not in answer.err
