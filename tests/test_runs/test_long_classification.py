"""Runs of minutes: the classification demo, and how its checkpoint helps a detector."""

import pytest
from long_runs import reached, report, tool

from casvit_mm.engine.checkpoints import noted_checkpoint

pytestmark = pytest.mark.long
pytest.importorskip('mmpretrain')
SHORT = [
    'train_cfg.max_epochs=3',
    'train_cfg.val_interval=3',
    'param_scheduler.1.end=3',
    'param_scheduler.1.T_max=3',
    # The demo's own learning rate is for random weights, and would undo the pretraining.
    'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult=0.25',
]


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """Accuracy, seconds and checkpoint of the classification demo."""
    work_dir = tmp_path_factory.mktemp('classification')
    _, seconds = tool('train', 'casvit-xs_demo_shapes', '--work-dir', work_dir)
    (accuracy,) = reached(work_dir, 'accuracy/top1')
    return accuracy, seconds, noted_checkpoint(work_dir)


def test_the_demo_reaches_its_accuracy_from_random_weights(demo, capsys):
    accuracy, seconds, _ = demo
    report(capsys, f'casvit-xs_demo_shapes: top-1 {accuracy} in {seconds:.0f} s')
    assert accuracy >= 90


def test_pretraining_on_single_shapes_helps_a_detector(demo, tmp_path, capsys):
    pytest.importorskip('mmdet')
    config = 'mask_rcnn_casvit-xs_demo_shapes'
    start = [
        'model.backbone.init_cfg.type=Pretrained',
        f'model.backbone.init_cfg.checkpoint={demo[2]}',
    ]
    found = {}
    for name, options in (('from scratch', []), ('pre-trained', start)):
        run = ['--work-dir', tmp_path / name, '--cfg-options', *SHORT, *options]
        _, seconds = tool('train', config, *run)
        box, mask = reached(tmp_path / name, 'coco/bbox_mAP', 'coco/segm_mAP')
        found[name] = box
        report(
            capsys,
            f'{config}, 3 epochs, {name}: box AP {box}, mask AP {mask} in {seconds:.0f} s',
        )
    assert found['pre-trained'] > found['from scratch']
