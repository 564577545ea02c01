"""Checkpoints hold the SHA-256 of their records, and every damage to them is noticed."""

import io
import json
import random
import zipfile

import numpy as np
import pytest
import torch
from mmengine.runner.checkpoint import _load_checkpoint

from casvit_mm.models import CheckpointError, read_checkpoint
from casvit_mm.models.checkpoint.content import limits
from casvit_mm.models.checkpoint.content.digests import RECORD, Verification, add_digests
from casvit_mm.models.checkpoint.publish import write_weights

DAMAGES = 400


def content():
    torch.manual_seed(0)
    weights = {'a': torch.rand(7, 3), 'b': torch.rand(40, 30), 'c': torch.arange(5)}
    return dict(state_dict=weights, meta=dict(epoch=3, iter=12, dataset_meta=dict(classes=('x',))))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'epoch_3.pth'
    torch.save(content(), path)
    add_digests(path)
    return path


def is_the_same(found):
    wanted = content()
    return found['meta'] == wanted['meta'] and all(
        torch.equal(found['state_dict'][key], value) for key, value in wanted['state_dict'].items()
    )


def places(path):
    """Where the contents of the records are."""
    with zipfile.ZipFile(path) as archive, path.open('rb') as file:
        for entry in archive.infolist():
            file.seek(entry.header_offset + 26)
            name, extra = np.frombuffer(file.read(4), '<u2')
            start = entry.header_offset + 30 + int(name) + int(extra)
            yield range(start, start + entry.file_size)


def rewritten(path, change):
    """Writes an archive anew with other records, and the right CRC-32 of each."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, value in records.items():
            archive.writestr(name, value)


@pytest.mark.parametrize('options', [{}, {'weights_only': True}, {'mmap': True}])
def test_torch_and_mmengine_load_a_file_with_digests(options, file):
    if 'weights_only' not in options:
        options = {**options, 'weights_only': False}
    assert is_the_same(torch.load(str(file), **options))
    assert is_the_same(_load_checkpoint(str(file), map_location='cpu'))


def test_a_file_tells_how_it_was_verified(file, tmp_path):
    told = []
    assert is_the_same(read_checkpoint(file, tell=told.append))
    for name, new in (('zip', True), ('legacy', False)):
        torch.save(content(), tmp_path / name, _use_new_zipfile_serialization=new)
        assert is_the_same(read_checkpoint(tmp_path / name, tell=told.append))
    assert told == [Verification.DIGESTS, Verification.CHECKSUMS, Verification.NONE]


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_published_file_is_the_same_each_time_and_verified_if_it_is_an_archive(suffix, tmp_path):
    written = [
        write_weights(content()['state_dict'], {}, tmp_path / f'{name}{suffix}') for name in 'ab'
    ]
    assert written[0].read_bytes() == written[1].read_bytes()
    told = []
    read_checkpoint(written[0], tell=told.append)
    assert (told == [Verification.DIGESTS]) == (suffix == '.pth')


def test_every_damage_is_refused_or_changes_nothing_that_is_read(file):
    whole, chance = file.read_bytes(), random.Random(0)
    contents = {place for each in places(file) for place in each}
    refused = 0
    for _ in range(DAMAGES):
        damaged, kind = bytearray(whole), chance.randrange(3)
        start = chance.randrange(len(whole))
        count = 1 if kind == 0 else chance.randrange(1, len(whole) - start + 1)
        if kind == 0:
            damaged[start] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del damaged[start:]
        else:
            damaged[start : start + count] = bytes(count)
        changed = {i for i in range(start, min(start + count, len(damaged)))} if kind else {start}
        changed = {i for i in changed if damaged[i] != whole[i]}
        if damaged == whole:
            continue
        file.write_bytes(damaged)
        try:
            found = read_checkpoint(file)
        except CheckpointError as error:
            assert str(file) in str(error) and '\n' not in str(error)
            refused += 1
            continue
        assert is_the_same(found)
        assert kind != 1 and not changed & contents
    assert refused > DAMAGES * 0.8


def test_a_record_that_was_exchanged_together_with_its_crc_is_named(file):
    def change(records):
        records['epoch_3/data/1'] = bytes(len(records['epoch_3/data/1']))

    rewritten(file, change)
    with pytest.raises(CheckpointError, match='SHA-256 of its record epoch_3/data/1 is wrong'):
        read_checkpoint(file)


@pytest.mark.parametrize('name', ['version', 'data.pkl'])
def test_records_other_than_weights_are_verified_too(name, file):
    def change(records):
        records[f'epoch_3/{name}'] += b'\n'

    rewritten(file, change)
    with pytest.raises(CheckpointError, match=f'SHA-256 of its record epoch_3/{name} is wrong'):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda listed: listed.pop('data/0'), 'list of checksums lacks the record data/0'),
        (lambda listed: listed.update({'data/9': 'a' * 64}), 'lacks the record data/9'),
        (lambda listed: listed.update({'data/0': 'a' * 63}), 'something else than checksums'),
        (lambda listed: listed.update({'data/0': 'g' * 64}), 'something else than checksums'),
        (lambda listed: listed.update({'data/0': 3}), 'something else than checksums'),
    ],
)
def test_a_list_that_does_not_fit_the_records_is_refused(change, said, file):
    def rewrite(records):
        listed = json.loads(records[f'epoch_3/{RECORD}'])
        change(listed)
        records[f'epoch_3/{RECORD}'] = json.dumps(listed)

    rewritten(file, rewrite)
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(file)


@pytest.mark.parametrize('text', ['', '[]', '{', '[' * 100_000, '\xff', 'null', '"a"'])
def test_a_list_that_is_something_else_is_refused(text, file):
    rewritten(file, lambda records: records.update({f'epoch_3/{RECORD}': text.encode('latin-1')}))
    with pytest.raises(CheckpointError, match='list of checksums'):
        read_checkpoint(file)


def test_a_list_that_is_too_large_is_not_read(file, monkeypatch):
    size = limits.DIGEST_LIST_BYTES + 1
    rewritten(file, lambda records: records.update({f'epoch_3/{RECORD}': b'{' + b' ' * size}))
    with pytest.raises(CheckpointError, match='list of checksums takes'):
        read_checkpoint(file)


def test_digests_are_added_to_a_file_in_memory():
    memory = io.BytesIO()
    torch.save(content(), memory)
    add_digests(memory)
    memory.seek(0)
    assert is_the_same(torch.load(memory, weights_only=True))
