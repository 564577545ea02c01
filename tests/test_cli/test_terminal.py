"""What a run shows on a terminal and in a file."""

import contextlib
import os
import shutil
import subprocess

import pytest
from quick_runs import DEMO, QUICK, run_tool
from terminals import Terminal, rows

NOISE = (
    'System environment',
    'custom_hooks',
    'BELOW_NORMAL',
    'paramwise_options',
    'loading annotations',
    'creating index',
    'Average Precision',
    'faster_coco_eval',
    'deprecated',
    'mmengine - INFO',
)


@pytest.fixture(scope='module')
def seen(shapes, work_dir, tmp_path_factory):
    """The text of a terminal, and the work dir, of a run that continues the finished one."""
    copy = tmp_path_factory.mktemp('terminal') / 'run'
    shutil.copytree(work_dir, copy)
    (copy / 'last_checkpoint').write_text(str(copy / 'epoch_1.pth'))
    (old,) = copy.glob('*/*.log')
    shutil.rmtree(old.parent)
    terminal = Terminal()
    where = ['--data-root', shapes, '--work-dir', copy, '--resume']
    term = os.environ.get('TERM')
    os.environ['TERM'] = 'xterm'
    try:
        with contextlib.redirect_stdout(terminal.stream):
            assert run_tool('train', [DEMO, *where, *QUICK, 'train_cfg.max_epochs=2']) == 0
    finally:
        os.environ['TERM'] = term or 'dumb'
    return terminal.text(), copy


def test_a_run_is_resumed_from_its_last_checkpoint(seen):
    assert (seen[1] / 'epoch_2.pth').is_file()


def test_a_run_needs_few_lines_before_its_first_bar(seen):
    before = seen[0].split('0%|')[0].splitlines()
    assert 5 < len(before) <= 20


def test_the_first_screen_says_what_is_trained_on_what_and_how(seen):
    # Long lines are broken between two words.
    start = ' '.join(seen[0].split('epoch 2/2')[0].split())
    for fact in (
        'train 8 images',
        'val 4 images',
        'model MaskRCNN with CAS-ViT-XS, 4.0 M parameters (2.8 M in the backbone)',
        'epoch_1.pth, continues after epoch 1',
        'fp32',
        '2 epochs of 2 steps, 4 images each, AdamW, learning rate 0.008',
        'work dir ',
    ):
        assert fact in start


def test_a_resumed_run_shows_its_bar_where_it_stopped_and_what_it_knows(seen):
    text = seen[0]
    assert 'epoch 2/2  50%|' in text and '| 2/4' in text
    assert '| 3/4, loss ' in text
    for fact in ('lr ', ' images/s', ' GiB', ' left'):
        assert fact in text
    assert 'validating' in text


def test_what_stays_on_the_terminal_is_whole_and_free_of_noise(seen):
    shown = rows(seen[0])
    assert not [noise for noise in NOISE if noise in seen[0]]
    assert not [row for row in shown if '%|' in row], 'bars are removed'
    header = next(row for row in shown if row.startswith('epoch'))
    row = shown[shown.index(header) + 1]
    assert header.split()[:3] == ['epoch', 'loss', 'box'] and row.split()[0] == '2'


def test_a_run_ends_with_commands_that_can_be_copied(seen):
    text, work_dir = seen
    *_, image_demo, test = text.rstrip().splitlines()
    assert '-m casvit image_demo ' in image_demo or 'casvit image_demo ' in image_demo
    assert str(work_dir / f'{DEMO}.py') in test
    done = subprocess.run(
        f'{test.strip()} --help', shell=True, capture_output=True, text=True, check=True
    )
    assert 'usage: casvit test' in done.stdout


def test_the_log_file_has_everything(seen):
    (log,) = seen[1].glob('*/*.log')
    text = log.read_text()
    for part in ('System environment', 'custom_hooks = [', 'BELOW_NORMAL', 'paramwise_options'):
        assert part in text
    for part in ('Epoch(train) [2][2/2]', 'Epoch(val) [2][', 'Printed: creating index...'):
        assert part in text
    assert 'Average Precision' in text


def test_a_file_gets_plain_lines(finished_run):
    assert '\r' not in finished_run.out
    assert len(finished_run.out.splitlines()) < 30
    assert 'epoch 1/1, step 1/2, loss ' in finished_run.out
    assert not [noise for noise in NOISE if noise in finished_run.out]
