"""The set-up script: its decisions, refusals and progress messages."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from terminals import Terminal

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / 'tools'))

import install  # noqa: E402
from installer import environment, machine, operators, target, versions  # noqa: E402

TORCH = {'version': '2.13.0+cu130', 'cuda': '13.0', 'sees_gpu': False}
HEADLESS = 'opencv-python-headless'


def put_program(folder: Path, name: str, says: str) -> None:
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "{says}"\n')
    program.chmod(0o755)


@pytest.fixture
def bare_machine(tmp_path, monkeypatch):
    """A PATH with only the programs that a test adds, and no CUDA from the environment."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', str(folder))
    for name in ('CUDA_HOME', 'CUDA_PATH', 'CXX', 'CFLAGS', 'CXXFLAGS', 'MAX_JOBS', 'FORCE_CUDA'):
        monkeypatch.delenv(name, raising=False)
    is_file = Path.is_file
    monkeypatch.setattr(
        Path, 'is_file', lambda path: not path.match('/usr/local/cuda/*/*') and is_file(path)
    )
    return folder


@pytest.fixture
def here(tmp_path):
    """The running environment, with its log in a folder of the test."""

    class Here(target.Target):
        log = tmp_path / 'setup.log'

    return Here(Path(sys.executable), owned=False)


@pytest.mark.parametrize('version', [(3, 10), (3, 11), (3, 12)])
def test_supported_pythons_are_accepted(version):
    assert machine.python_refusal(version) is None


@pytest.mark.parametrize('version', [(2, 7), (3, 9), (3, 13)])
def test_other_pythons_are_refused_with_the_ones_that_work(version):
    sentence = machine.python_refusal(version)
    assert f'Python {version[0]}.{version[1]} cannot be used' in sentence
    assert '3.10 to 3.12' in sentence


def test_the_original_line_is_refused_on_a_python_that_its_torch_has_no_build_for():
    assert '3.10 to 3.11' in machine.python_refusal((3, 12), 'original')


def test_a_shim_without_a_python_is_skipped(bare_machine):
    for minor, code in ((12, 127), (11, 0)):
        shim = bare_machine / f'python3.{minor}'
        shim.write_text(f'#!/bin/sh\nexit {code}\n')
        shim.chmod(0o755)
    assert machine.other_python('maintained') == str(bare_machine / 'python3.11')


def test_a_missing_compiler_is_reported_with_how_to_install_one(bare_machine, here):
    with pytest.raises(target.SetupError, match=r'no C\+\+ compiler.*apt install g\+\+.*xcode'):
        operators.compile_wheel(here, versions.LINES['maintained'], str(bare_machine), False)


def test_a_gpu_without_nvcc_is_reported_with_the_choices(bare_machine):
    put_program(bare_machine, 'nvidia-smi', 'GPU 0: NVIDIA Something')
    assert machine.gpu_present()
    sentence = machine.nvcc_refusal('13.0')
    for part in ('nvcc', 'CUDA toolkit 13.x', '--wheels', '--cpu-ops'):
        assert part in sentence


def test_an_nvcc_of_another_major_version_is_refused_with_both_versions(bare_machine):
    put_program(bare_machine, 'nvcc', 'Cuda compilation tools, release 12.4, V12.4.99')
    assert 'CUDA 13.0' in machine.nvcc_refusal('13.0')
    assert 'is CUDA 12.4' in machine.nvcc_refusal('13.0')
    assert machine.nvcc_refusal('12.1') is None


def test_a_gpu_that_torch_cannot_use_stops_the_setup_unless_the_cpu_was_requested(bare_machine):
    put_program(bare_machine, 'nvidia-smi', 'GPU 0: NVIDIA Something')
    with pytest.raises(target.SetupError, match='driver'):
        operators.wants_cuda(TORCH, cpu_ops=False)
    assert operators.wants_cuda(TORCH, cpu_ops=True) is False
    assert operators.wants_cuda({**TORCH, 'sees_gpu': True}, cpu_ops=False) is True


def test_a_torch_without_cuda_on_a_gpu_machine_is_named():
    assert 'build without CUDA' in machine.nvcc_refusal(None)


def test_a_machine_without_a_gpu_gets_cpu_operators(bare_machine):
    assert operators.wants_cuda(TORCH, cpu_ops=False) is False


def test_the_build_optimises_and_keeps_the_users_settings(bare_machine, monkeypatch):
    env = operators.build_environment(cuda=False)
    assert (env['CFLAGS'], env['CXXFLAGS'], env['MMCV_WITH_OPS']) == ('-O1 -g0', '-O1 -g0', '1')
    assert (env['FORCE_CUDA'], env['CUDA_VISIBLE_DEVICES']) == ('0', '')
    assert int(env['MAX_JOBS']) >= 1
    monkeypatch.setenv('CFLAGS', '-O2')
    monkeypatch.setenv('MAX_JOBS', '1')
    env = operators.build_environment(cuda=False)
    assert (env['CFLAGS'], env['MAX_JOBS']) == ('-O2', '1')


def test_a_build_for_the_gpu_gets_the_path_of_cuda(bare_machine):
    put_program(bare_machine, 'nvcc', 'release 13.0')
    env = operators.build_environment(cuda=True)
    assert env['FORCE_CUDA'] == '1'
    assert env['CUDA_HOME'] == str(bare_machine.parent)


@pytest.mark.parametrize(
    ('there', 'imports', 'owned', 'remove', 'add'),
    [
        ([], False, True, [], True),
        ([HEADLESS], True, True, [], False),
        ([HEADLESS], False, True, [HEADLESS], True),
        (['opencv-python'], True, True, ['opencv-python'], True),
        (['opencv-contrib-python'], True, False, [], False),
        (['opencv-python'], False, False, ['opencv-python'], True),
        (['opencv-python', HEADLESS], True, False, ['opencv-python', HEADLESS], True),
    ],
)
def test_exactly_one_opencv_is_left(there, imports, owned, remove, add):
    installed = {'numpy': '2.0', **dict.fromkeys(there, '4.11.0.86')}
    assert environment.plan_opencv(installed, imports, owned) == (tuple(remove), add)


def test_the_two_lines_are_not_mixed_in_an_environment():
    with pytest.raises(target.SetupError, match=r'contains mmcv, mmdet of the original line'):
        environment.refuse_other_line({'mmcv': '2.1.0', 'mmdet': '3.3.0'}, 'maintained')
    environment.refuse_other_line({'mmcv': '2.1.0', 'mmdet': '3.3.0'}, 'original')


def test_a_cpu_torch_with_another_torchvision_is_named_with_the_remedy(here, monkeypatch):
    monkeypatch.setattr(type(here), 'installed', lambda self: {'torch': '2.13.0+cpu'})
    sentence = environment.remedy('torchvision', 'RuntimeError: no torchvision::nms', here)
    assert '2.13.0+cpu is a CPU-only build' in sentence
    assert 'uninstall torch and torchvision' in sentence


def test_a_long_command_shows_its_progress(here, monkeypatch, capsys):
    monkeypatch.setattr(target, 'BEAT_SECONDS', 0.2)
    code = "import time; print('  [31/78] c++ -c a.cpp', flush=True); time.sleep(1)"
    target.run([sys.executable, '-c', code], 'mmcv', here.log)
    assert 'mmcv: 31 of 78 files compiled after' in capsys.readouterr().out


def test_progress_on_a_terminal_is_one_line_that_changes(here, monkeypatch):
    terminal = Terminal(columns=40)
    monkeypatch.setattr(target, 'REDRAW_SECONDS', 0.2)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '40')
    monkeypatch.setattr(sys, 'stdout', terminal.stream)
    code = "import time; print('  [31/78] c++ -c a.cpp', flush=True); time.sleep(1)"
    target.run([sys.executable, '-c', code], 'mmcv', here.log)
    target.say('Ready')
    said = terminal.text()
    assert said.count('\n') == 1 and said.count('31 of 78 files') >= 2
    # A longer line would wrap, and could not be written over.
    assert all(len(row.split('\x1b')[0]) < 40 for row in said.split('\r'))
    assert said.split('\r')[-1].lstrip('\x1b[K').endswith('Ready\n')


def test_a_failed_command_shows_its_errors_and_where_the_full_output_is(here):
    code = "print('fine'); print('a.cpp:3: error: no such type'); raise SystemExit(3)"
    with pytest.raises(target.SetupError) as caught:
        target.run([sys.executable, '-c', code], 'mmcv', here.log)
    assert 'mmcv failed (exit code 3)' in str(caught.value)
    assert 'a.cpp:3: error: no such type' in str(caught.value)
    assert 'fine' not in str(caught.value)
    assert str(here.log) in str(caught.value)


def test_every_pinned_version_lies_in_the_range_that_the_package_declares():
    tomllib = pytest.importorskip('tomllib', reason='Python 3.11 has it')
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    for name, line in versions.LINES.items():
        extras = project['optional-dependencies']
        declared = [*project['dependencies'], *extras['train'], *extras[name]]
        ranges = {Requirement(text).name: Requirement(text).specifier for text in declared}
        for pin in (*line.torch, line.mmcv, *line.packages):
            package, _, version = pin.partition('==')
            assert package in ranges, pin
            assert not version or version in ranges[package], pin


@pytest.mark.parametrize('extras', ['', 'dev', 'draw, data', None])
def test_training_requirements_except_mmcv_are_installed_with_any_extras(extras):
    tomllib = pytest.importorskip('tomllib', reason='Python 3.11 has it')
    declared = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    arguments = [] if extras is None else ['--extras', extras]
    wanted = Requirement(
        install.project(install.parse_arguments(arguments).extras).replace(str(ROOT), 'casvit-mm')
    )
    assert 'train' in wanted.extras
    assert wanted.extras <= set(declared['optional-dependencies'])
    assert wanted.extras.isdisjoint(versions.LINES)
    if extras is None:
        left_out = {*versions.LINES, *versions.OWN_ENVIRONMENT}
        assert wanted.extras == {*declared['optional-dependencies']} - left_out
    else:
        assert wanted.extras == {'train', *extras.replace(' ', '').split(',')} - {''}


def test_the_original_line_is_set_up_without_extras_that_need_newer_packages():
    wanted = install.parse_arguments(['--line', 'original']).extras.split(',')
    assert not {'formats', 'export'} & {*wanted} and {'data', 'onnx'} <= {*wanted}
    assert install.parse_arguments(['--line', 'original', '--extras', 'dev']).extras == 'dev'


def test_the_fingerprint_depends_on_the_options():
    def choices(**changes):
        usual = {'line': 'maintained', 'extras': 'dev', 'cpu_ops': False, 'wheels': None}
        return install.fingerprint(argparse.Namespace(**{**usual, **changes}))

    assert choices() == choices()
    assert choices() != choices(line='original')
    assert choices() != choices(cpu_ops=True)


def made(*arguments):
    """The commands that make would run."""
    # The tests may run under make themselves, which says where it enters a folder.
    own = {name: value for name, value in os.environ.items() if not name.startswith('MAKE')}
    own.pop('MFLAGS', None)
    answer = subprocess.run(
        ['make', '-n', *arguments], cwd=ROOT, env=own, capture_output=True, text=True, check=True
    )
    return answer.stdout


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
@pytest.mark.parametrize('goal', ['setup', 'demo', 'test'])
def test_make_passes_options_on_to_setup(goal):
    first = made(goal, 'ARGS=--cpu-ops').splitlines()[0]
    assert install.parse_arguments(first.split()[2:]).cpu_ops
    assert ('--no-hint' in first) == (goal != 'setup')


def test_a_gpu_without_nvcc_gets_the_command_that_make_takes(bare_machine):
    assert 'make setup ARGS=--cpu-ops,' in machine.nvcc_refusal('13.0')


def test_setup_ends_with_a_command_that_needs_no_activation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    owned = target.Target(tmp_path / '.venv' / 'bin' / 'python', owned=True)
    owned.stamp.parent.mkdir()
    arguments = ['--venv', '.venv', '--cpu-ops']
    owned.remember(install.fingerprint(install.parse_arguments(arguments)), cpu_ops=True)
    assert install.main(arguments) == 0
    said = capsys.readouterr().out
    assert 'Next' in said and said.endswith(f'.venv/bin/python -m casvit train {install.DEMO}\n')
    assert install.main(['--venv', '.venv', '--no-hint']) == 0, 'the operators stay'
    said = capsys.readouterr().out
    assert 'up to date' in said and 'Next' not in said


def test_checking_a_missing_environment_is_a_sentence_and_exit_code_2(tmp_path):
    command = [sys.executable, str(ROOT / 'tools' / 'install.py'), '--check', '--venv']
    answer = subprocess.run([*command, str(tmp_path / 'none')], capture_output=True, text=True)
    assert answer.returncode == 2
    assert 'There is no environment at' in answer.stdout
    assert 'Traceback' not in answer.stdout + answer.stderr


@pytest.mark.parametrize('owned', [True, False])
def test_bytecode_of_the_check_is_kept_in_our_own_environment(owned, tmp_path, monkeypatch):
    module = tmp_path / 'something.py'
    module.write_text('__version__ = "1"\n')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setenv('PYTHONDONTWRITEBYTECODE', '1')
    found = target.Target(Path(sys.executable), owned=owned).examine('something')
    assert found == {'something': {'version': '1'}}
    assert (tmp_path / '__pycache__').exists() == owned
