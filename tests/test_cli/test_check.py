"""The command that checks a dataset: its output, exit code, report and repaired copy."""

import json
import re
import shutil

import pytest

from casvit.cli.main import run_tool
from casvit_mm.datasets.shapes import objects as shapes


@pytest.fixture
def objects(tmp_path):
    generated, root = tmp_path / 'generated', tmp_path / 'objects'
    shapes.generate(generated, num_train=8, num_val=4, size=96, progress=False)
    for name in ('annotations', 'train', 'val'):
        shutil.copytree(generated / name, root / name)
    return root


@pytest.fixture
def masks(tmp_path):
    generated, root = tmp_path / 'generated masks', tmp_path / 'masks'
    shapes.generate(generated, num_train=8, num_val=4, size=96, progress=False)
    for split in ('train', 'val'):
        shutil.copytree(generated / split, root / 'images' / split)
        shutil.copytree(generated / 'labels' / split, root / 'annotations' / split)
    (root / 'classes.txt').write_text('\n'.join(('background', *shapes.CLASSES)))
    return root


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = run_tool('check', [str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def change(root, edit):
    file = root / 'annotations/instances_train.json'
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_a_clean_dataset_is_counted_and_drawn(check, objects, tmp_path):
    code, said, _ = check(objects, '--task', 'instance')
    assert code == 0
    assert re.search(r'^  train +8 ', said, re.MULTILINE)
    page = tmp_path / 'work_dirs/check_objects/index.html'
    assert f'page: {page.relative_to(tmp_path)}' in said
    html = page.read_text()
    assert html.count('data:image/png;base64,') == 5
    assert html.count('data:image/jpeg;base64,') == 1
    assert 'http' not in html, 'the report works offline'


def test_errors_are_named_and_are_exit_code_2(check, objects):
    def break_a_box(content):
        content['annotations'][3]['bbox'] = [1, 1, 0, 5]

    change(objects, break_a_box)
    (objects / 'val/000001.jpg').unlink()
    code, said, _ = check(objects)
    assert code == 2
    assert 'error: 1 x boxes without area. The object is silently dropped.' in said
    assert 'instances_train.json: annotations[3] (id 4) has bbox = [1, 1, 0, 5]' in said
    assert f'{objects}/val/000001.jpg: images[1] (id 2) does not exist' in said
    assert said.splitlines()[-2].startswith('2 errors and ')


def test_warnings_are_exit_code_0(check, objects):
    change(objects, lambda content: content['annotations'][0].update(iscrowd=1))
    code, said, _ = check(objects)
    assert code == 0
    assert 'warning: 1 x objects with the crowd flag' in said
    assert 'No errors, ' in said


def test_only_the_first_of_a_kind_are_printed(check, objects):
    def break_boxes(content):
        for annotation in content['annotations'][:7]:
            annotation['bbox'][2] = 0

    change(objects, break_boxes)
    _, said, _ = check(objects, '--limit', '2', '--no-pictures')
    assert said.count('has bbox = ') == 2 and 'and 5 more' in said


def test_a_repaired_copy_is_clean(check, objects, tmp_path):
    change(objects, lambda content: content['annotations'][0].update(bbox=[-9, -9, 3, 3]))
    code, said, _ = check(objects, '--fix', tmp_path / 'fixed')
    assert code == 0 and 'fixed (1 change,' in said and said.endswith('No issues found.\n')
    assert 'outside' not in (tmp_path / 'fixed/annotations/instances_train.json').read_text()
    assert check(tmp_path / 'fixed')[0] == 0
    code, _, error = check(objects, '--fix', tmp_path / 'fixed')
    assert code == 2 and 'already exists' in error


def test_semantic_masks_are_checked_counted_and_drawn(check, masks, tmp_path):
    code, said, _ = check(masks, '--task', 'semantic')
    assert code == 0 and 'semantic masks with class indices' in said
    html = (tmp_path / 'work_dirs/check_masks/index.html').read_text()
    assert html.count('data:image/png;base64,') == 3
    assert html.count('data:image/jpeg;base64,') == 1


def test_errors_in_arguments_are_one_sentence(check, objects, tmp_path):
    for arguments, message in [
        ((tmp_path / 'nowhere',), 'does not exist'),
        ((objects, '--task', 'semantic'), 'No images with semantic masks were found'),
        ((objects, '--fix', 'out', '--no-pictures'), 'leave out --no-pictures'),
        ((objects, '--legend', 'x.txt'), '--legend is for semantic masks'),
    ]:
        code, _, error = check(*arguments)
        assert code == 2 and message in error and 'Traceback' not in error


ODD = ['50%20 #1', "größe 盒 it's", '<b>"$x$', '{{$X:1}}', ' ', 'line\nbreak \x1b[31m']
ODD += ['not utf-8 \udcff', '\u202egnp']


@pytest.mark.parametrize('name', ODD)
def test_image_files_may_have_any_name(check, tmp_path, name):
    from images import write_image

    root = tmp_path / 'data'
    root.mkdir()
    (root / 'classes.txt').write_text('cat\n')
    for number, folder in enumerate(('', name)):
        (root / folder).mkdir(exist_ok=True)
        write_image(root / folder / f'{name}.png', seed=number)
        (root / folder / f'{name}.txt').write_text('0 0.5 0.5 0.4 0.4\n')
    code, said, error = check(root, '--task', 'detection', '--fix', tmp_path / 'fixed')
    assert code == 0 and re.search(r'^  all +2 +0 +2 +1$', said, re.MULTILINE), error
    assert 'Traceback' not in error
    # The same with an issue of such a file.
    (root / name / f'{name}.png').write_bytes(b'broken')
    (root / name / f'{name}.txt').write_text('0 0.5 0.5 nan 0.4\n')
    lossy = ['--fix', tmp_path / 'again', '--allow-loss', '1']
    code, said, error = check(root, '--task', 'detection', *lossy)
    assert code == 0 and '.png: ' in said and 'Traceback' not in error
    assert all(line.isprintable() for line in said.splitlines()) and '\udcff' not in said
    for file in (tmp_path / 'again/changes.txt', *tmp_path.glob('work_dirs/*/index.html')):
        assert '\x1b' not in file.read_text(encoding='utf-8')
    code, said, _ = check(tmp_path / 'again', '--task', 'detection')
    assert code == 0


@pytest.mark.parametrize('name', ['a\x00b.jpg', 'x' * 5000, '/', '..', '\ud800.jpg'])
def test_an_impossible_file_name_in_the_annotations_is_a_missing_image(
    check, objects, name, tmp_path
):
    change(objects, lambda content: content['images'][0].update(file_name=name))
    code, said, error = check(objects, '--fix', tmp_path / 'fixed')
    assert code == 2 and 'Traceback' not in error and 'images[0] (id 1) ' in said


def test_control_characters_of_a_class_name_do_not_reach_the_terminal(check, objects, tmp_path):
    change(objects, lambda content: content['categories'][0].update(name='a\x1b[2Jb\ud800{{c}}'))
    code, said, error = check(objects, '--fix', tmp_path / 'fixed')
    assert code == 0 and 'Traceback' not in error and '\x1b' not in said
    assert r"categories[0] (id 1) names a class 'a\x1b[2Jb\ud800{{c}}', which contains '{{'" in said
    assert check(tmp_path / 'fixed')[0] == 0
