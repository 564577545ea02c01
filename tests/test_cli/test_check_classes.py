"""The check of datasets for classification: its output, exit code, report and repaired copy."""

import re
import shutil

import pytest
from class_folders import write_classes, write_lists

from casvit.cli.main import run_tool


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        everything = [*map(str, arguments), '--task', 'classification']
        code = run_tool('check', everything)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize(
    ('write', 'layout'), [(write_classes, 'class folders'), (write_lists, 'lists of images')]
)
def test_a_clean_dataset_is_counted_and_shown(check, tmp_path, write, layout):
    write(tmp_path / 'data')
    code, said, _ = check(tmp_path / 'data')
    assert code == 0 and f'({layout})' in said and said.count('No issues found.') == 1
    assert re.search(r'^  train +6 +3$', said, re.MULTILINE)
    html = (tmp_path / 'work_dirs/check_data/index.html').read_text()
    assert (
        html.count('data-large="data:image/jpeg') == 12
        and 'http:' not in html
        and 'https:' not in html
    )


@pytest.mark.parametrize('options', [(), ('--no-pictures',)])
def test_an_error_is_exit_code_2(check, tmp_path, options):
    write_classes(tmp_path / 'data')
    shutil.rmtree(tmp_path / 'data/val/cat')
    code, said, _ = check(tmp_path / 'data', *options)
    assert code == 2
    assert 'error: 1 x splits that number their classes differently.' in said
    assert f"only in {tmp_path / 'data/train'}: 'cat'" in said


def test_the_copy_is_checked_and_its_result_is_the_exit_code(check, tmp_path):
    write_classes(tmp_path / 'data')
    for split in ('train', 'val'):
        (tmp_path / 'data' / split / 'zebra').mkdir()
    code, said, _ = check(tmp_path / 'data', '--fix', tmp_path / 'fixed')
    assert code == 0 and 'fixed (1 change,' in said and said.endswith('No issues found.\n')
    code, _, error = check(tmp_path / 'data', '--fix', tmp_path / 'fixed')
    assert code == 2 and 'already exists' in error
    code, _, error = check(tmp_path / 'data', '--fix', 'other', '--boxes-from-masks')
    assert code == 2 and '--boxes-from-masks is for objects, not classification' in error


@pytest.mark.parametrize(
    'arguments',
    [('--format', 'coco'), ('--legend', 'x.txt'), ('--images', 'x'), ('--masks-from-objects',)],
)
def test_arguments_of_other_tasks_are_refused(check, tmp_path, arguments):
    write_classes(tmp_path / 'data')
    code, _, error = check(tmp_path / 'data', *arguments)
    assert code == 2 and arguments[0] in error and 'Traceback' not in error


ODD = ['50%20 #1', "größe 盒 it's", '<b>"$x$', '{{$X:1}}', ' ', 'line\nbreak \x1b[31m']
ODD += ['not utf-8 \udcff', '\u202egnp', 'a.b', '..hidden']


@pytest.mark.parametrize('name', ODD)
def test_folders_may_have_any_name(check, tmp_path, name):
    write_classes(tmp_path / 'data', ('cat', name))
    next((tmp_path / 'data/train/cat').glob('0.*')).write_bytes(b'broken')
    lossy = ['--fix', tmp_path / 'fixed', '--allow-loss', '1']
    code, said, error = check(tmp_path / 'data', *lossy)
    assert code == 0 and 'Traceback' not in error, error
    assert all(line.isprintable() for line in said.splitlines()) and '\udcff' not in said
    for file in (tmp_path / 'fixed/changes.txt', *tmp_path.glob('work_dirs/*/index.html')):
        assert '\x1b' not in file.read_text(encoding='utf-8')
    code, said, _ = check(tmp_path / 'fixed')
    assert code == 0 and re.search(r'^  val +4 +2$', said, re.MULTILINE)
