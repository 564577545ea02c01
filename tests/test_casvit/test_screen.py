"""What commands show: on a terminal, in a file, and with --quiet."""

import io
import sys
import warnings
from itertools import pairwise

import pytest
from terminals import Terminal, rows

from casvit.terminal import results
from casvit.terminal.intervals import Intervals
from casvit.terminal.noise import is_noise
from casvit.terminal.program import command
from casvit.terminal.screen import Screen


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    return Terminal()


def steps(screen, number=3, stage='train'):
    for done in range(number + 1):
        screen.progress(stage, 'epoch 1/1', done, number, lambda: ['loss 1.0'])


def test_a_terminal_shows_a_bar_and_removes_it(terminal):
    screen = Screen(stream=terminal.stream)
    steps(screen)
    screen.end_progress()
    screen.say('done')
    text = terminal.text()
    assert 'epoch 1/1   0%|' in text and '| 3/3, loss 1.0' in text
    assert rows(text)[0].strip() == 'done'


def test_a_long_fact_is_broken_between_words_below_its_name(terminal, monkeypatch):
    monkeypatch.setenv('COLUMNS', '40')
    Screen(stream=terminal.stream).fact(
        'train', '400 images, 1,243 objects, 6 classes (a-long/path)'
    )
    screen = terminal.text().splitlines()
    assert [row.rstrip() for row in screen] == [
        'train      400 images, 1,243 objects, 6',
        '           classes (a-long/path)',
    ]


def test_a_long_fact_is_one_line_in_a_file(monkeypatch):
    monkeypatch.setenv('COLUMNS', '40')
    stream = io.StringIO()
    text = '400 images, 1,243 objects, 6 classes (a-long/path)'
    Screen(stream=stream).fact('train', text)
    assert stream.getvalue() == f'train      {text}\n'


def test_what_is_printed_and_warned_about_stands_above_the_bar(terminal, monkeypatch):
    monkeypatch.setattr(sys, '__stderr__', terminal.stream)
    kept = []
    screen = Screen(stream=terminal.stream)
    monkeypatch.setattr(sys, 'stdout', terminal.stream)
    with screen.taken(kept.append), warnings.catch_warnings():
        warnings.simplefilter('always')
        steps(screen)
        print('from user code')
        for _ in range(2):
            warnings.warn('the data are odd', stacklevel=1)
        warnings.warn('this name is deprecated', DeprecationWarning, stacklevel=1)
        exec('print("creating index...")', {'__name__': 'pycocotools.coco'})
    text = terminal.text()
    assert rows(text).count('from user code') == 1
    assert rows(text).count('Warning: the data are odd') == 1, 'shown once'
    assert 'deprecated' not in text and 'creating index' not in text
    assert 'creating index...' in kept and any('deprecated' in line for line in kept)


def test_the_last_state_of_a_bar_stays_if_the_run_fails(terminal):
    screen = Screen(stream=terminal.stream)
    with pytest.raises(RuntimeError), screen.taken(print):
        screen.progress('train', 'epoch 1/1', 2, 4, lambda: [])
        raise RuntimeError
    assert '| 2/4' in rows(terminal.text())[0]


def test_a_prompt_without_an_end_of_line_is_shown(terminal, monkeypatch):
    monkeypatch.setattr(sys, 'stdout', terminal.stream)
    with Screen(stream=terminal.stream).taken(print):
        sys.stdout.write('(Pdb) ')
        sys.stdout.flush()
    assert terminal.text() == '(Pdb) '


def test_a_resumed_run_starts_its_bar_where_it_stopped(terminal):
    screen = Screen(stream=terminal.stream)
    screen.progress('train', 'epoch 2/4', 50, 200, lambda: [])
    screen.end_progress()
    assert 'epoch 2/4  25%|' in terminal.text()


def test_a_file_gets_lines_without_carriage_returns():
    stream = io.StringIO()
    screen = Screen(stream=stream)
    steps(screen, 100)
    steps(screen, stage='val')
    screen.say('done')
    assert stream.getvalue() == 'epoch 1/1, step 1/100, loss 1.0\ndone\n'


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(terminal, monkeypatch):
    monkeypatch.setenv('TERM', 'dumb')
    steps(Screen(stream=terminal.stream))
    assert terminal.text() == 'epoch 1/1, step 1/3, loss 1.0\n'


def test_a_terminal_without_a_width_gets_lines(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    terminal = Terminal(columns=0)
    steps(Screen(stream=terminal.stream))
    assert terminal.text() == 'epoch 1/1, step 1/3, loss 1.0\n'


def test_quiet_shows_warnings_and_results_only(terminal, monkeypatch):
    monkeypatch.setattr(sys, '__stderr__', terminal.stream)
    screen = Screen(quiet=True, stream=terminal.stream)
    steps(screen)
    screen.say('a fact')
    screen.warn('an issue')
    screen.tell('the result')
    assert terminal.text() == 'Warning: an issue\nthe result\n'


def test_only_the_first_process_shows_a_run(monkeypatch):
    monkeypatch.setenv('RANK', '1')
    stream = io.StringIO()
    screen = Screen(stream=stream)
    steps(screen)
    screen.tell('done')
    screen.warn('an issue')
    assert stream.getvalue() == ''


def test_lines_are_frequent_at_first_and_seldom_in_a_long_run():
    intervals = Intervals(0.0, at_once=True)
    due = [now for now in range(24 * 3600) if intervals.is_due(now)]
    assert due[:3] == [0, 30, 60]
    gaps = [after - before for before, after in pairwise(due)]
    assert max(gaps) == 600 and len(due) < 200


@pytest.mark.parametrize(
    ('text', 'noise'),
    [
        ('faster_coco_eval is not installed, metrics will not be computed. ', True),
        ('"FileClient" will be deprecated in future. Please use io functions', True),
        ('The prefix is not set in metric class IoUMetric.', True),
        ('The loss is not finite at step 3: loss = nan', False),
        ('head.pth does not fit the model: missing roi_head.', False),
        ('CUDA initialization: The NVIDIA driver on your system is too old', False),
    ],
)
def test_warnings_are_hidden_only_if_users_can_do_nothing_about_them(text, noise):
    assert is_noise(text) == noise


def test_a_command_works_without_an_activated_environment(monkeypatch, tmp_path):
    python = tmp_path / '.venv' / 'bin' / 'python'
    monkeypatch.setattr(sys, 'executable', str(python))
    monkeypatch.setenv('PATH', str(tmp_path / 'elsewhere'))
    assert command('test', 'a b.py') == f"{python} -m casvit test 'a b.py'"
    monkeypatch.chdir(tmp_path)
    assert command('test', 'c.py') == '.venv/bin/python -m casvit test c.py'
    python.parent.mkdir(parents=True)
    python.with_name('casvit').write_text('#!/bin/sh\n')
    python.with_name('casvit').chmod(0o755)
    monkeypatch.setenv('PATH', str(python.parent))
    assert command('test', 'c.py') == 'casvit test c.py'


BOXES = {
    'coco/bbox_mAP': 0.41,
    'coco/bbox_mAP_50': 0.62,
    'coco/bbox_mAP_75': 0.4,
    'coco/bbox_mAP_s': 0.1,
    'coco/bbox_mAP_m': 0.3,
    'coco/bbox_mAP_l': -1.0,
    'coco/circle_precision': 0.9,
}


def test_validations_are_rows_below_one_header():
    table = results.Table()
    first = table.add([('epoch', '1'), ('loss', '2.500'), *results.columns(BOXES)])
    second = table.add([('epoch', '2'), ('loss', '1.500'), *results.columns(BOXES)])
    assert first[0].split() == ['epoch', 'loss', 'box', 'AP', 'AP50', 'AP75']
    assert first[1].split() == ['1', '2.500', '0.410', '0.620', '0.400']
    assert [line.split()[0] for line in second] == ['2']
    assert len(first[1]) == len(second[0]) == len(first[0])


def test_a_test_of_a_detector_has_a_row_for_boxes_and_one_for_masks():
    masks = {key.replace('bbox', 'segm'): value for key, value in BOXES.items()}
    header, *body = results.table({**BOXES, **masks})
    assert header.split() == ['AP', 'AP50', 'AP75', 'small', 'medium', 'large']
    assert body[0].split() == ['box', '0.410', '0.620', '0.400', '0.100', '0.300', '-']
    assert body[1].split()[0] == 'mask'


@pytest.mark.parametrize(
    ('metrics', 'sentence'),
    [
        (BOXES, 'box AP 0.410'),
        ({'aAcc': 80.0, 'mIoU': 41.256, 'mAcc': 50.1}, 'mIoU 41.26, mAcc 50.10, aAcc 80.00'),
        ({'accuracy/top1': 78.3}, 'top-1 78.30'),
        ({'own/score': 0.5, 'own/name': 'text'}, 'score 0.500'),
        ({}, ''),
    ],
)
def test_metrics_of_every_task_become_a_sentence(metrics, sentence):
    assert results.in_a_sentence(metrics) == sentence


def test_a_test_without_metrics_has_no_table():
    assert results.table({}) == []
