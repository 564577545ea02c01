"""Damaged files by the thousand: each is read, or refused in a sentence."""

import argparse
import os
import random
import signal
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from casvit_mm.models import CheckpointError, read_checkpoint

FILES = int(os.environ.get('CASVIT_FUZZED_FILES', '50_000'))
SECONDS = 10
CONTAINERS = {
    'zip': {},
    'zip of protocol 4': {'pickle_protocol': 4},
    'legacy': {'_use_new_zipfile_serialization': False},
    'legacy of protocol 1': {'_use_new_zipfile_serialization': False, 'pickle_protocol': 1},
}


def _content():
    weight = torch.rand(4, 4)
    return {
        'state_dict': {
            'a': weight,
            'b': weight.t()[1:],
            'c': torch.arange(3),
            'd': torch.nn.Parameter(torch.rand(2)),
            'e': torch.rand(2).bfloat16(),
        },
        'meta': {'epoch': 3, 'dataset_meta': {'classes': ('cat', 'dog'), 'palette': [(1, 2, 3)]}},
        'message_hub': {
            'log_scalars': {'loss': HistoryBuffer([1.0, 2.0], [1, 1])},
            'runtime_info': {'x': np.float64(1.5), 'y': np.arange(3)},
        },
        'args': argparse.Namespace(lr=0.1, names={'a', 'b'}),
        'sizes': [torch.Size([1]), torch.device('cpu'), slice(1), 1 + 2j, bytearray(b'abc')],
    }


def _mutated(content, chance):
    """The bytes of a file with some of them changed, moved, copied or cut off."""
    content = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        place = chance.randrange(len(content))
        length = min(chance.choice((1, 1, 2, 4, 16)), len(content) - place)
        kind = chance.randrange(6)
        if kind == 0:
            content[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            content[place : place + length] = chance.randbytes(length)
        elif kind == 2:
            content[place:place] = chance.randbytes(length)
        elif kind == 3 and len(content) > length + 1:
            del content[place : place + length]
        elif kind == 4:
            source = chance.randrange(len(content))
            content[place : place + length] = content[source : source + length]
        else:
            content[place] = chance.choice(b'\x00\xff\x7f().0RbQ]}ueatcio\x81\x85\x93\x94hqjr')
    return bytes(content)


def _written(path, source, chance):
    """Writes a mutated file: all of it, or the pickle in an archive that is whole otherwise."""
    if not zipfile.is_zipfile(source) or chance.random() < 0.3:
        path.write_bytes(_mutated(source.read_bytes(), chance))
        return
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, 'w') as new:
        for entry in old.infolist():
            record = old.read(entry)
            mutated = entry.filename.endswith('data.pkl')
            new.writestr(entry.filename, _mutated(record, chance) if mutated else record)


@pytest.mark.long
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('container', CONTAINERS)
def test_a_file_with_changed_bytes_is_read_or_refused_in_a_sentence(container, tmp_path):
    chance = random.Random(container)
    source, path = tmp_path / 'whole.pth', tmp_path / 'changed.pth'
    torch.save(_content(), source, **CONTAINERS[container])
    read_checkpoint(source)
    read = 0
    for number in range(FILES // len(CONTAINERS)):
        _written(path, source, chance)
        signal.alarm(SECONDS)
        try:
            content = read_checkpoint(path)
            # A tensor that does not fit its memory would end the process here.
            for weight in content['state_dict'].values():
                weight.clone()
            read += 1
        except CheckpointError as error:
            assert str(error).isprintable() and str(error).endswith('.'), (number, error)
        finally:
            signal.alarm(0)
    assert 0 < read < FILES
