"""Commands start fast, and report slow loading and missing packages."""

import importlib
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from casvit.cli import loading
from casvit.cli.main import COMMANDS, main
from casvit.errors import MissingPackageError

REPOSITORY = Path(__file__).parents[2]
HEAVY = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'casvit_mm', 'numpy', 'PIL')
ANSWERS = [
    ['--help'],
    ['--version'],
    ['trian'],
    *([name, '--help'] for name in COMMANDS),
    *([name, '--no-such-argument'] for name in COMMANDS),
    ['train', 'CONFIG', '--cfg-options', 'no_value'],
]


def test_help_version_and_usage_errors_need_no_heavy_imports():
    code = f"""
import contextlib, io, json, sys
from casvit.cli.main import main
codes = []
for argv in {ANSWERS}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        codes.append(main(argv))
print(json.dumps([codes, sorted(set({HEAVY}) & set(sys.modules))]))
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    codes, loaded = json.loads(done.stdout)
    assert loaded == []
    for argv, code in zip(ANSWERS, codes, strict=True):
        assert code == (0 if argv[-1] in ('--help', '--version') else 2), argv


@pytest.mark.parametrize('start', [['-m', 'casvit', 'bench'], ['tools/bench.py']], ids=str)
def test_every_entry_point_answers_without_heavy_imports(start):
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', *start, '--help'],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'casvit bench' in done.stdout
    modules = {line.rsplit('|', 1)[-1].strip().split('.')[0] for line in done.stderr.splitlines()}
    assert 'casvit' in modules and not modules & set(HEAVY)


@pytest.fixture
def slow(monkeypatch):
    """Makes any loading slow, in a process that has not reported it yet."""
    monkeypatch.setattr(loading, 'SLOW', 0.0)
    loading._say_loading.cache_clear()


def test_slow_loading_is_reported_on_stderr(slow, capfd):
    said = ''
    with loading.loading('casvit train'):
        while not said.endswith('\n'):
            said += capfd.readouterr().err
    assert said == 'Loading PyTorch and OpenMMLab …\n'
    with loading.loading('The config'):
        time.sleep(0.2)
    assert capfd.readouterr().err == '', 'it is printed only once'


def test_only_the_first_process_of_a_run_reports_slow_loading(slow, monkeypatch, capfd):
    monkeypatch.setenv('RANK', '1')
    loading._say_loading()
    assert capfd.readouterr().err == ''


def test_output_of_libraries_during_import_is_kept_for_the_log(monkeypatch, capsys):
    monkeypatch.setattr(loading, 'printed', [])
    with loading.loading('casvit train'):
        print('Could not import something.\n')
    assert capsys.readouterr().out == ''
    assert loading.printed == ['Could not import something.']


def test_warnings_about_the_code_of_libraries_are_kept_for_the_log_while_a_command_runs(
    monkeypatch, capsys
):
    def run(args):
        warnings.warn('Default ``avg_non_ignore`` is False, if you would like to …', stacklevel=1)
        warnings.warn('The image photo.jpg has no pixels.', stacklevel=1)
        return 0

    monkeypatch.setattr(loading, 'printed', [])
    monkeypatch.setattr('casvit_mm.commands.print_config.run', run)
    assert main(['print_config', 'mask_rcnn_casvit']) == 0
    assert capsys.readouterr().err == 'Warning: The image photo.jpg has no pixels.\n'
    assert any('avg_non_ignore' in text for text in loading.printed)


@pytest.mark.parametrize(
    ('module', 'advice'),
    [
        ('mmdet', 'tools/install.py'),
        ('torch', 'tools/install.py'),
        ('matplotlib', "pip install 'casvit-mm[train]'"),
        ('mmcv._ext', 'tools/install.py'),
    ],
)
def test_a_missing_package_is_a_sentence_that_names_the_extra(module, advice, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(MissingPackageError, match=f'bench needs {module}, which is not') as error,
        loading.loading('casvit bench'),
    ):
        importlib.import_module(module)
    assert advice in str(error.value)


def test_a_run_logs_what_libraries_printed_during_import(finished_run):
    log = next(finished_run.work_dir.rglob('*.log')).read_text()
    assert 'OneDL' not in finished_run.out
    assert ('Printed while importing libraries' in log) == ('OneDL' in log)
