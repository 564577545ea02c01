"""Dispatch, help and the two entry points."""

import subprocess
import sys
from pathlib import Path

import pytest

from casvit.cli.main import COMMANDS, main, run_tool
from casvit_mm import __version__

REPOSITORY = Path(__file__).parents[2]


def test_help_lists_every_command_and_shows_a_first_run(capsys):
    assert main(['--help']) == 0
    shown = capsys.readouterr().out
    assert all(f'\n  {name} ' in shown for name in COMMANDS)
    assert 'casvit train mask_rcnn_casvit-xs_demo_shapes' in shown


def test_no_argument_prints_the_help(capsys):
    assert main([]) == 0
    assert 'commands:' in capsys.readouterr().out


def test_version_is_that_of_the_package(capsys):
    assert main(['--version']) == 0
    assert __version__ in capsys.readouterr().out


def test_an_unknown_command_is_refused_with_the_list_of_commands(capsys):
    assert main(['trian']) == 2
    message = capsys.readouterr().err
    assert 'trian' in message and 'train' in message


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_explains_itself_with_an_example(name, capsys):
    assert run_tool(name, ['--help']) == 0
    shown = capsys.readouterr().out
    assert f'casvit {name}' in shown.split('\n\n', 1)[1], 'there is an example'
    assert '--debug' in shown


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_refuses_an_unknown_argument(name, capsys):
    assert run_tool(name, ['--no-such-argument']) == 2
    assert f'casvit {name}: error:' in capsys.readouterr().err


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_has_a_script_in_tools(name):
    module = COMMANDS[name][0]
    script = (REPOSITORY / 'tools' / f'{module}.py').read_text()
    assert f"run_tool('{name}')" in script


def test_a_script_of_tools_works_from_any_folder_and_gives_the_exit_code(tmp_path):
    script = REPOSITORY / 'tools' / 'train.py'
    done = subprocess.run(
        [sys.executable, script, 'no_such_config'], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert 'casvit train: error: The config no_such_config does not exist' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_shell_scripts_without_arguments_print_their_usage(script):
    done = subprocess.run([REPOSITORY / 'tools' / script], capture_output=True, text=True)
    assert done.returncode == 2
    assert f'tools/{script} ' in done.stderr
