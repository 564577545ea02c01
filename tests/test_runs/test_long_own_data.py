"""Fine-tuning in runs of minutes, whose results docs/own_data.md quotes: ``make long``."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import exported
import pytest
from long_runs import REPOSITORY, reached, report, scalars, tool

from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.finetune.memory import GIB

pytest.importorskip('mmdet')
pytestmark = pytest.mark.long
DEMO = 'mask_rcnn_casvit-xs_demo_shapes'


@pytest.fixture(scope='module')
def other_shapes(tmp_path_factory):
    """A few hundred images of classes that the demo's model has never seen."""
    root = tmp_path_factory.mktemp('others')
    shapes.generate(root, num_train=240, num_val=60, others=True, progress=False)
    return root


def fine_tuned(data, work_dir, *options):
    """Box AP and mask AP after fine-tuning, and the training time in seconds."""
    size = ['--config', DEMO, '--image-size', '160', '--batch-size', '4', '--epochs', '4']
    tool('finetune', data, '--task', 'instance', *size, '--work-dir', work_dir, *options)
    # There are folders of the training and of the test.
    run = next(path for path in work_dir.iterdir() if re.fullmatch(r'[\d_]+', path.name))
    seconds = sum(line['time'] * 10 for line in scalars(run) if 'loss' in line)
    return *reached(run, 'coco/bbox_mAP', 'coco/segm_mAP'), seconds


def test_fine_tuning_beats_training_from_scratch(trained_demo, other_shapes, tmp_path, capsys):
    starts = {'random weights': [], "the demo's checkpoint": ['--checkpoint', trained_demo.last]}
    means = {}
    for name, options in starts.items():
        runs = [
            fine_tuned(other_shapes, tmp_path / name / str(seed), '--seed', seed, *options)
            for seed in range(3)
        ]
        boxes, masks, seconds = zip(*runs, strict=True)
        means[name] = statistics.mean(boxes)
        report(
            capsys,
            f'from {name}: box AP {boxes}, mean {means[name]:.3f}; mask AP mean '
            f'{statistics.mean(masks):.3f}; {statistics.mean(seconds):.0f} s of training each',
        )
    assert means["the demo's checkpoint"] >= means['random weights'] + 0.10


def test_augmentation_helps_on_a_small_dataset(trained_demo, tmp_path, capsys):
    """48 images to train on, and 60 others to measure with."""
    data = tmp_path / 'few'
    shapes.generate(data, num_train=48, num_val=60, size=96, others=True, progress=False)
    options = ['--task', 'instance', '--config', DEMO, '--checkpoint', trained_demo.last]
    options += ['--image-size', '96', '--batch-size', '4', '--epochs', '80', '--no-train']
    means = {}
    for name, more in {'default': [], 'none': ['--no-augmentation']}.items():
        boxes = []
        for seed in range(3):
            run = tmp_path / name / str(seed)
            tool('finetune', data, *options, '--work-dir', run, '--seed', seed, *more)
            # Validations in between would take a third of the time.
            tool('train', run / 'config.py', '--cfg-options', 'train_cfg.val_interval=80')
            boxes += reached(run, 'coco/bbox_mAP')
        means[name] = statistics.mean(boxes)
        report(capsys, f'augmentation {name}: box AP {boxes}, mean {means[name]:.3f}')
    assert means['default'] > means['none']


@pytest.mark.parametrize('name', ['coco', 'voc', 'yolo', 'labelme'])
def test_images_of_every_format_are_learned(name, trained_demo, photographs, tmp_path, capsys):
    """Three classes of 80 images train the same in every annotation format."""
    coco = exported.as_coco(photographs, tmp_path / 'coco')
    data = exported.EXPORTS[name](coco, tmp_path / 'data') if name in exported.EXPORTS else coco
    options = ['--config', DEMO, '--checkpoint', trained_demo.last, '--learning-rate', '2e-3']
    options += ['--image-size', '256', '--batch-size', '4', '--epochs', '4', '--patience', '3']
    said, seconds = tool(
        'finetune', data, '--task', 'instance', *options, '--work-dir', tmp_path / 'run'
    )
    losses = [line['loss'] for line in scalars(tmp_path / 'run') if 'loss' in line]
    assert statistics.mean(losses[-2:]) < statistics.mean(losses[:2])
    # The table of results by class at the end.
    precisions = dict(re.findall(r'\| (\w+) +\| ([\d.]+|nan) ', said[said.rindex('Testing ') :]))
    assert set(exported.CLASSES) <= set(precisions)
    assert len(list((tmp_path / 'run/images').glob('*.jpg'))) == 79
    report(capsys, f'{name}: AP by class {precisions} in {seconds:.0f} s, {tmp_path / "run"}')


def tree(pid):
    """A process and all its descendants."""
    parents = {}
    for file in Path('/proc').glob('[0-9]*/stat'):
        try:
            # The name of a process, in brackets, may contain any character.
            parent = int(file.read_text().rpartition(')')[2].split()[1])
        except (OSError, IndexError):
            continue
        parents.setdefault(parent, []).append(int(file.parent.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


def memory_of(pid):
    """Memory of a process and its children in bytes, with shared memory counted once."""
    total = 0
    for each in tree(pid):
        try:
            text = Path(f'/proc/{each}/smaps_rollup').read_text()
        except OSError:
            continue
        total += 1024 * int(re.search(r'^Pss: *(\d+) kB', text, re.M)[1])
    return total


@pytest.mark.skipif(not Path('/proc/self/smaps_rollup').exists(), reason='Linux tells the memory')
@pytest.mark.parametrize('limit', [2.5, 5])
def test_a_training_takes_between_40_and_85_percent_of_its_memory(
    limit, photographs, tmp_path, capsys
):
    options = ['--size', 'xs', '--image-size', '320', '--memory', limit, '--no-train']
    data = photographs / 'coco_mini'
    said, _ = tool('finetune', data, '--task', 'instance', *options, '--work-dir', tmp_path)
    (chosen,) = re.findall(r'Batch size .*', said)
    one_epoch = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=2']
    run = subprocess.Popen(
        [sys.executable, REPOSITORY / 'tools/train.py', tmp_path / 'config.py', *one_epoch],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak = 0
    while run.poll() is None:
        peak = max(peak, memory_of(run.pid))
        time.sleep(0.2)
    assert run.returncode == 0
    share = peak / (limit * GIB)
    report(capsys, f'{limit} GiB: {chosen} The run itself: {peak / GIB:.1f} GiB ({share:.0%}).')
    assert 0.40 <= share <= 0.85
