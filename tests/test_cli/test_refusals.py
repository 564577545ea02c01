"""What commands refuse: a sentence that names the option or the key, and a way out."""

import pytest
from quick_runs import DEMO, run_tool

from casvit_mm.datasets.shapes import objects as shapes

CONFIGS = {
    'no_data': "model = dict(type='FCOS')\n",
    'no_model': 'train_dataloader = dict()\n',
    'no_split': "_base_ = ['{base}']\nval_dataloader = val_cfg = val_evaluator = None\n",
    'no_scaling': "_base_ = ['{base}']\nauto_scale_lr = None\n",
    'no_backbone': "_base_ = ['{base}']\nmodel = dict(_delete_=True, type='FCOS')\n",
    'no_tta': "_base_ = ['{base}']\ntta_model = None\n",
    'resnet': "_base_ = ['{base}']\nmodel = dict(backbone=dict(_delete_=True, type='ResNet'))\n",
    'no_images': (
        "_base_ = ['{base}']\ntrain_dataloader = dict(dataset=dict("
        'filter_cfg=dict(min_size=999)))\n'
    ),
    'no_sizes': "_base_ = ['{base}']\ncasvit_sizes = None\n",
    'rpn': (
        "_base_ = ['{base}']\n"
        "model = dict(_delete_=True, type='RPN', backbone=dict(type='CASViT', arch='xs'),"
        " neck=dict(type='FPN', in_channels=[48, 56, 112, 220], out_channels=64, num_outs=5),"
        " rpn_head=dict(type='RPNHead', in_channels=64))\n"
    ),
    'head_lists': (
        "_base_ = ['{base}']\n"
        "model = dict(_delete_=True, type='FCOS', backbone=dict(type='CASViT', arch='xs'),"
        " bbox_head=[[dict(type='FCOSHead', num_classes=3, in_channels=48)]])\n"
    ),
    'AMP': "_base_ = ['{base}']\noptim_wrapper = dict(type='ApexOptimWrapper')\n",
    'other_metric': "_base_ = ['{base}']\ntest_evaluator = dict(_delete_=True, type='VOCMetric')\n",
}
REFUSALS = [
    ('finetune DATA --task instance --batch-size 0', '--batch-size: 0 is not at least 1'),
    ('finetune DATA --task instance --val-share 2', 'is not between 0 and 1'),
    ('finetune DATA --task instance --learning-rate -1', 'is not a number above 0'),
    ('finetune DATA --task instance --layer-decay 2', 'is not above 0 and at most 1'),
    ('finetune MASKS --task semantic --balance', '--balance is for detection and instance'),
    ('finetune DATA --config resnet', 'is ResNet, not CASViT'),
    ('finetune DATA', 'Say what to train with --task'),
    ('weights list cas-vit-s', 'takes no names'),
    ('bench --peers nobody', 'There is no peer nobody'),
    ('bench --peers resnet18 --mode training', '--peers needs --mode inference'),
    ('bench --pipelines no_data', 'has no train_dataloader'),
    ('bench --configs no_model', 'has no model'),
    ('browse_dataset no_split --split val', 'has no val_dataloader'),
    ('check DATA --bits 12', '--bits is a repair: add --fix OUT'),
    ('check DATA --task instance --masks-from-objects', 'is for --task semantic'),
    ('check DATA --task semantic --format coco', 'do not go together'),
    ('train no_data', 'has no train_dataloader'),
    ('train no_scaling --data-root DATA --auto-scale-lr', 'needs auto_scale_lr.base_batch_size'),
    ('train no_backbone --data-root DATA --from-scratch', 'no model.backbone'),
    ('train DEMO --data-root DATA --work-dir FILE/run', 'cannot be used'),
    ('train no_images --data-root DATA', '(train_dataloader.dataset) has no images left: its fo'),
    (
        'browse_dataset no_images --data-root DATA --cfg-options '
        'train_dataloader.dataset.serialize_data=False',
        'no_images.py has no images left: its folder or annotation file is empty, or filter_cfg',
    ),
    ('train AMP --data-root DATA --amp', '--amp works with optim_wrapper.type OptimWrapper, not'),
    ('test DEMO s3://bucket/x.pth --data-root DATA', 'Download the file, and name that.'),
    ('finetune DATA --config no_sizes --size m', 'which has its own size and no casvit_sizes'),
    ('finetune DATA --config rpn', 'no head with num_classes, so it cannot be trained for other'),
    ('finetune DATA --config head_lists', 'has heads in a list of lists, which fine-tuning does'),
    ('test no_tta WEIGHTS --data-root DATA --tta', '--tta needs tta_model'),
    ('test other_metric WEIGHTS --data-root DATA --format-only OUT', 'needs a CocoMetric'),
]


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    """What the words in capitals stand for, and the configs."""
    root = tmp_path_factory.mktemp('refusals')
    shapes.generate(root / 'data', num_train=4, num_val=2, size=64, progress=False)
    (root / 'masks/images').mkdir(parents=True)
    (root / 'data/labels').rename(root / 'masks/annotations')
    for split in ('train', 'val'):
        (root / f'masks/images/{split}').symlink_to(root / f'data/{split}')
    (root / 'masks/classes.txt').write_text('\n'.join(['ground', *shapes.CLASSES]))
    (root / 'file').write_text('')
    from casvit import config_path

    words = dict(DATA=root / 'data', MASKS=root / 'masks', FILE=root / 'file', DEMO=DEMO)
    words.update(OUT=root / 'out', WEIGHTS=root / 'none.pth')
    for name, text in CONFIGS.items():
        words[name] = root / f'{name}.py'
        words[name].write_text(text.replace('{base}', config_path(DEMO)))
    (root / 'none.pth').write_bytes(b'')
    return words


@pytest.mark.parametrize(('line', 'said'), REFUSALS, ids=[line for line, _ in REFUSALS])
def test_what_cannot_be_done_is_a_sentence(line, said, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *given = line.split()
    arguments = [
        '/'.join(
            [str(words.get(word.partition('/')[0], word.partition('/')[0])), *word.split('/')[1:]]
        )
        for word in given
    ]
    assert run_tool(name, arguments) == 2
    error = capsys.readouterr().err
    assert said in error and 'Traceback' not in error, error


DEVICES = [
    ('mps', '--amp is not known to work on mps: leave it out.', ['--amp']),
    (
        'cuda',
        "strategy='DDPStrategy' is for several processes: start them with tools/dist_train.sh",
        ['--cfg-options', 'runner_type=FlexibleRunner', 'strategy.type=DDPStrategy'],
    ),
]


@pytest.mark.parametrize(('device', 'said', 'options'), DEVICES)
def test_what_a_device_cannot_do_is_a_sentence(device, said, options, words, capsys, monkeypatch):
    """On a machine with that device, as far as this can be told without one."""
    monkeypatch.setattr('mmengine.device.utils.DEVICE', device)
    assert run_tool('train', [DEMO, '--data-root', words['DATA'], *options]) == 2
    assert said in capsys.readouterr().err
