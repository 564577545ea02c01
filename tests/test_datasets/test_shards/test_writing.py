"""Writing shards: the same bytes each time, whole or not at all."""

import json
import os
import shutil
import tarfile
import zlib

import pytest
from labelled import text, voc, voc_object
from quick_runs import run_tool

from casvit_mm.datasets.shards import write
from casvit_mm.datasets.shards.index import Index


def bytes_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_the_same_files_give_the_same_bytes(dataset, shards, tmp_path):
    copy = tmp_path / 'copy'
    for path in sorted(dataset.rglob('*'), reverse=True):
        if path.is_file():
            (copy / path.relative_to(dataset)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / path.relative_to(dataset))
            (copy / path.relative_to(dataset)).chmod(0o600)
    for path in copy.rglob('*'):
        os.utime(path, (1e9, 1e9))
    first, second = tmp_path / '1.shards', tmp_path / '2.shards'
    assert run_tool('shard', [dataset, first]) == 0
    assert run_tool('shard', [copy, second]) == 0
    assert bytes_of(first) == bytes_of(second)
    assert len([*shards.glob('*.tar')]) > 1


def test_other_programs_read_the_shards(dataset, shards):
    found = {}
    for path in shards.glob('*.tar'):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.isreg() and member.mtime == 0
                found[member.name] = tar.extractfile(member).read()
    images = {name: data for name, data in bytes_of(dataset).items() if name.startswith('train/')}
    assert found == images


def test_the_index_holds_place_size_and_checksum(dataset, shards):
    index = Index((shards / 'index.jsonl').read_bytes(), 'here')
    for entry in index:
        data = (dataset / entry.name).read_bytes()
        assert (entry.size, entry.crc32) == (len(data), zlib.crc32(data))
        if entry.shard >= 0:
            whole = (shards / index.shards[entry.shard].name).read_bytes()
            assert whole[entry.offset : entry.offset + entry.size] == data
    assert (shards / 'annotations' / 'instances_train.json').read_bytes() == (
        dataset / 'annotations' / 'instances_train.json'
    ).read_bytes()


def test_the_command_prints_how_to_use_the_shards(mask_dataset, tmp_path, capsys):
    out = tmp_path / 'masks.shards'
    assert run_tool('shard', [mask_dataset, out, '--shard-size', 1]) == 0
    answer = capsys.readouterr().out
    assert f'--data-root shards://{out}' in answer and f"data_root = 'shards://{out}/'" in answer
    assert (out / 'classes.txt').is_file()


def refused(capsys, *arguments):
    """The sentence of a refused command."""
    assert run_tool('shard', arguments) == 2
    return capsys.readouterr().err


def test_a_folder_that_is_there_is_not_overwritten(dataset, shards, capsys):
    before = bytes_of(shards)
    assert 'exists' in refused(capsys, dataset, shards)
    assert bytes_of(shards) == before


def test_a_name_without_the_ending_is_refused(dataset, tmp_path, capsys):
    assert f'{tmp_path}/out.shards' in refused(capsys, dataset, tmp_path / 'out')


def test_a_full_disk_is_noticed_before_anything_is_written(dataset, tmp_path, capsys, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(write.shutil, 'disk_usage', lambda _: usage)
    assert 'not enough space' in refused(capsys, dataset, tmp_path / 'out.shards')
    assert not [*tmp_path.glob('*out.shards*')]


def test_a_missing_image_leaves_nothing_behind(dataset, tmp_path, capsys):
    (dataset / 'train' / 'b.png').unlink()
    assert 'train/b.png' in refused(capsys, dataset, tmp_path / 'out.shards')
    assert not [*tmp_path.glob('*out.shards*')]


def test_an_image_that_changes_meanwhile_leaves_nothing_behind(
    dataset, tmp_path, capsys, monkeypatch
):
    original = write._checked_sizes
    monkeypatch.setattr(write, '_checked_sizes', lambda plan: original(plan) | {'train/b.png': 5})
    assert 'changed while' in refused(capsys, dataset, tmp_path / 'out.shards')
    assert not [*tmp_path.glob('*out.shards*')]


@pytest.mark.parametrize('name', ['../outside.jpg', '../../outside.jpg'])
def test_images_outside_of_the_dataset_are_not_packed(dataset, tmp_path, capsys, name):
    shutil.copy(dataset / 'train' / 'a.jpg', tmp_path / 'outside.jpg')
    shutil.copy(dataset / 'train' / 'a.jpg', dataset / 'outside.jpg')
    file = dataset / 'annotations' / 'instances_train.json'
    content = json.loads(file.read_text())
    content['images'][0]['file_name'] = name
    file.write_text(json.dumps(content))
    code = run_tool('shard', [dataset, tmp_path / 'out.shards'])
    named = 'outside.jpg' if name.count('..') == 1 else None
    if named:
        index = Index((tmp_path / 'out.shards' / 'index.jsonl').read_bytes(), 'here')
        assert code == 0 and index.find(named)
    else:
        assert code == 2 and not (tmp_path / 'out.shards').exists()


def test_a_pipe_is_not_opened(dataset, tmp_path, capsys):
    (dataset / 'train' / 'b.png').unlink()
    os.mkfifo(dataset / 'train' / 'b.png')
    assert 'not a regular file' in refused(capsys, dataset, tmp_path / 'out.shards')


def test_other_formats_are_told_to_become_coco_first(tmp_path, dataset, capsys):
    root = tmp_path / 'voc'
    (root / 'JPEGImages').mkdir(parents=True)
    shutil.copy(dataset / 'train' / 'a.jpg', root / 'JPEGImages' / 'a.jpg')
    path = root / 'Annotations' / 'a.xml'
    text(path, voc(path, voc_object('cat', (2, 2, 20, 20)), size=(40, 30)))
    assert '--fix OUT' in refused(capsys, root, tmp_path / 'out.shards')
