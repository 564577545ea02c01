"""What a run shows, from its first step to the commands at its end."""

import contextlib
import io
import logging
import re

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from terminals import Terminal, rows
from toy_runs import toy_run

from casvit.terminal.screen import Screen
from casvit_mm.commands.endings import end_training
from casvit_mm.commands.runs import shown
from casvit_mm.engine.hooks.screen import ScreenHook
from casvit_mm.engine.terminal import ScreenHandler

SCORES = [0.1, 0.3, 0.2]


class Talks(Hook):
    """Says something of every kind after the second step."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1:
            runner.logger.info('told by user code')
            exec('log("told by a library")', {'__name__': 'mmdet.x', 'log': runner.logger.info})
            print_log('one image is odd', logger='current', level=logging.WARNING)
            print('printed by user code')


def run(stream, work_dir, *, quiet=False, **options):
    """Trains a model with one weight on a screen; returns the runner."""
    screen = Screen(quiet=quiet, stream=stream)
    with contextlib.redirect_stdout(stream), shown(screen, debug=False):
        runner = toy_run(work_dir, scores=list(SCORES), custom_hooks=[Talks()], **options)
        for handler in runner.logger.handlers:
            handler.setLevel(logging.INFO)
        runner.register_hook(ScreenHook(screen))
        runner.train()
    loader = dict(dataset=dict(type='Numbers'))
    cfg = Config(dict(test_dataloader=loader), cfg_text='text', filename='toy.py')
    end_training(runner, cfg, screen)
    return runner


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    return Terminal()


def test_a_terminal_keeps_facts_results_and_commands(terminal, tmp_path):
    run(terminal.stream, tmp_path)
    shown_rows = [row.rstrip() for row in rows(terminal.text())]
    text = '\n'.join(shown_rows)
    assert re.search(r'^model +Line, 0.0 M parameters$', text, re.MULTILINE)
    assert '3 epochs of 4 steps, 1 image each, SGD, learning rate 0.001' in text
    # Broken between two words.
    assert '; validation every epoch' in ' '.join(text.split())
    table = [row.split() for row in shown_rows if re.match(r'(epoch +loss|\d )', row)]
    assert [row[0] for row in table] == ['epoch', '1', '2', '3']
    assert [row[2] for row in table] == ['mAP', '0.100', '0.300', '0.200']
    assert 'Training finished. In ' in text and 'best_mAP_epoch_2.pth' in text
    assert re.search(r'casvit test toy.py .*best_mAP_epoch_2.pth$', text, re.MULTILINE)


def test_what_user_code_says_is_shown_and_what_libraries_say_is_not(terminal, tmp_path, capfd):
    run(terminal.stream, tmp_path)
    shown_rows = [row.rstrip() for row in rows(terminal.text())]
    assert shown_rows.count('told by user code') == 1
    assert shown_rows.count('printed by user code') == 1
    assert 'told by a library' not in '\n'.join(shown_rows)
    assert 'Warning: one image is odd' in capfd.readouterr().err
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'told by a library' in log and 'told by user code' in log


def test_a_resumed_run_says_where_it_continues(tmp_path):
    run(io.StringIO(), tmp_path)
    stream = io.StringIO()
    run(stream, tmp_path, epochs=4, resume=True, load_from=str(tmp_path / 'epoch_3.pth'))
    text = stream.getvalue()
    assert 'epoch_3.pth, continues after epoch 3' in text
    # The checkpoint of an epoch is from before its validation, which is therefore repeated.
    assert re.search(r'^3 .* 0\.100\n.*^epoch 4/4, step 1[34]/16, loss ', text, re.M | re.S)


def test_a_run_by_steps_counts_steps(tmp_path):
    stream = io.StringIO()
    loop = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=2)
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False))
    run(stream, tmp_path, train_cfg=loop, default_hooks=hooks)
    assert '6 steps, 1 image each' in stream.getvalue()
    assert re.findall(r'^(step|\d) ', stream.getvalue(), re.MULTILINE) == ['step', '2', '4', '6']


def test_quiet_shows_warnings_and_the_result_alone(tmp_path, capfd):
    stream = io.StringIO()
    run(stream, tmp_path, quiet=True)
    lines = stream.getvalue().splitlines()
    assert lines[-1] == f'mAP 0.200, {tmp_path / "best_mAP_epoch_2.pth"}'
    assert lines[:-1] == ['printed by user code']
    assert capfd.readouterr().err == 'Warning: one image is odd\n'


def test_a_run_of_another_tool_logs_as_mmengine_does(tmp_path):
    runner = toy_run(tmp_path, epochs=1)
    assert type(runner.logger.handlers[0]) is logging.StreamHandler
    assert not [hook for hook in runner.hooks if isinstance(hook, ScreenHook)]


def test_the_logger_is_mmengines_again_after_the_run(tmp_path):
    """A program that goes on after a run logs as before."""
    logger = run(io.StringIO(), tmp_path).logger
    assert not [each for each in logger.handlers if isinstance(each, ScreenHandler)]
    assert [each for each in logger.handlers if type(each) is logging.StreamHandler]
