"""Runs of minutes: the classification demo, and what its checkpoint does for a detector."""

import pytest
from long_runs import report, scalars, tool

pytestmark = pytest.mark.long
pytest.importorskip('mmpretrain')
SHORT = [
    'train_cfg.max_epochs=3',
    'train_cfg.val_interval=3',
    'param_scheduler.1.end=3',
    'param_scheduler.1.T_max=3',
    # The demo's own rate is for random weights, and would shake off what was learned before.
    'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult=0.25',
]


def train(config, work_dir, *options):
    """Trains as a person would; returns the last metrics and the seconds it took."""
    changes = ['--cfg-options', *options] if options else []
    _, seconds = tool('train', config, '--work-dir', work_dir, *changes)
    return [line for line in scalars(work_dir) if 'loss' not in line][-1], seconds


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """Metrics, seconds and checkpoint of the classification demo."""
    work_dir = tmp_path_factory.mktemp('classification')
    metrics, seconds = train('casvit-xs_demo_shapes', work_dir)
    return metrics, seconds, (work_dir / 'last_checkpoint').read_text().strip()


def test_the_demo_reaches_its_accuracy_from_random_weights(demo, capsys):
    metrics, seconds, _ = demo
    report(capsys, f'casvit-xs_demo_shapes: top-1 {metrics["accuracy/top1"]} in {seconds:.0f} s')
    assert metrics['accuracy/top1'] >= 90


def test_pre_training_on_single_shapes_helps_a_detector(demo, tmp_path, capsys):
    pytest.importorskip('mmdet')
    config = 'mask_rcnn_casvit-xs_demo_shapes'
    start = [
        'model.backbone.init_cfg.type=Pretrained',
        f'model.backbone.init_cfg.checkpoint={demo[2]}',
    ]
    found = {}
    for name, options in (('from scratch', []), ('pre-trained', start)):
        metrics, seconds = train(config, tmp_path / name, *SHORT, *options)
        found[name] = metrics['coco/bbox_mAP']
        report(
            capsys,
            f'{config}, 3 epochs, {name}: box AP {metrics["coco/bbox_mAP"]}, '
            f'mask AP {metrics["coco/segm_mAP"]} in {seconds:.0f} s',
        )
    assert found['pre-trained'] > found['from scratch']
