"""Metadata of checkpoints from untrusted sources: nothing in it is imported or called."""

import json
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from casvit_mm.models import CASViT, CheckpointError, load_into, read_checkpoint
from casvit_mm.models.checkpoint.meta import usable_meta
from casvit_mm.models.checkpoint.publish import publish

WEIGHTS = {'stem.0.weight': torch.zeros(1)}
SUFFIXES = ('.pth', '.safetensors')


@pytest.fixture
def write(tmp_path):
    def write(meta, suffix='.pth', weights=WEIGHTS):
        path = tmp_path / f'weights{suffix}'
        if suffix == '.pth':
            torch.save({'state_dict': weights, 'meta': meta}, path)
        else:
            texts = {key: json.dumps(value, default=str) for key, value in meta.items()}
            save_file(weights, path, metadata=texts)
        return path

    return write


@pytest.fixture
def untrusted_module(tmp_path, monkeypatch):
    """An importable module that creates a file if it is imported or called."""
    (tmp_path / 'strange_module.py').write_text(
        'from pathlib import Path\n'
        f'Path({str(tmp_path / "imported")!r}).touch()\n'
        f'def call(model): Path({str(tmp_path / "called")!r}).touch()\n'
    )
    (tmp_path / 'strange_package').mkdir()
    (tmp_path / 'strange_package' / 'registry.py').write_text('import strange_module')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop('strange_module', None)


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize(
    'name',
    [
        'strange_module.call',
        'strange_package.call',
        'strange_module',
        'os.getcwd',
        'builtins.print',
        'casvit_mm.models.CASViT',
        'casvit_mm.fused',
        'structure of weights.fused',
        '.fused',
        'fused.',
        'Fused',
        '',
    ],
)
def test_a_structure_is_looked_up_by_its_exact_name_and_nothing_is_imported(
    name, suffix, write, untrusted_module, capsys
):
    model = nn.Linear(2, 2)
    file = write({'structure': name}, suffix, model.state_dict())
    with pytest.raises(CheckpointError, match=r'does not know; known: fused'):
        load_into(model, read_checkpoint(file), strict=True)
    assert not (untrusted_module / 'imported').exists()
    assert 'strange_module' not in sys.modules


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('value', [['fused'], {'type': 'fused'}, 3, True, 1.5])
def test_a_structure_that_is_not_a_string_is_reported(value, suffix, write):
    with pytest.raises(
        CheckpointError, match=r'meta\.structure is of type .*expected a name \(fused\)'
    ):
        read_checkpoint(write({'structure': value}, suffix))


def test_a_structure_of_bytes_is_reported(write):
    with pytest.raises(CheckpointError, match=r'meta\.structure is of type bytes'):
        read_checkpoint(write({'structure': b'fused'}))


@pytest.mark.parametrize('meta', [[], ['a'], 'text', 3, b'bytes', torch.zeros(2), ('a',)])
def test_a_meta_that_is_not_a_dict_is_ignored(meta, write, caplog, tmp_path):
    model = CASViT('xs')
    file = write(meta, weights=model.state_dict())
    content = read_checkpoint(file)
    assert content['meta'] == {}
    load_into(CASViT('xs'), content, strict=True)
    # Callers may have read the file themselves.
    load_into(CASViT('xs'), {'state_dict': model.state_dict(), 'meta': meta}, strict=True)
    assert publish(file, tmp_path / 'out.safetensors').is_file()


ODD_DATASET_META = [
    'text',
    ['cat', 'dog'],
    3,
    b'bytes',
    {3: 4},
    {'classes': 'cat'},
    {'classes': 3},
    {'classes': [1, 2]},
    {'classes': {'cat': 1}},
    {'classes': [b'cat']},
    {'CLASSES': ['cat', None]},
    {'palette': 'random'},
    {'palette': [1, 2, 3]},
    {'palette': [[1, 2]]},
    {'palette': [['a', 'b', 'c']]},
    {'palette': [[0, 0, 999]]},
    {'palette': [[0.5, 0.5, 0.5]]},
    {'PALETTE': {'cat': [1, 2, 3]}},
]


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('odd', ODD_DATASET_META, ids=repr)
def test_class_names_and_colours_of_an_unexpected_type_are_ignored(odd, suffix, write, tmp_path):
    if suffix == '.safetensors' and "b'" in repr(odd):
        pytest.skip('JSON has no bytes')
    file = write({'dataset_meta': odd, 'epoch': 3}, suffix, CASViT('xs').state_dict())
    content = read_checkpoint(file)
    assert content['meta']['epoch'] == 3
    known = content['meta'].get('dataset_meta', {})
    assert not {'classes', 'palette'} & {str(key).lower() for key in known}
    for out in SUFFIXES:
        assert read_checkpoint(publish(file, tmp_path / f'out{out}'))['meta']['epoch'] == 3


def test_values_of_the_expected_type_are_kept():
    meta = dict(
        dataset_meta=dict(classes=('cat', 'dog'), palette=[(1, 2, 3), [4, 5, 6]], reduce=True),
        CLASSES=('cat',),
        PALETTE=None,
        epoch=3,
        iter=0,
        seed=7,
        cfg='text',
    )
    usable, notes = usable_meta(meta)
    assert usable == {key: value for key, value in meta.items() if key != 'PALETTE'}
    assert not notes


def test_the_metainfo_of_a_dataset_stays_comparable():
    dataset_meta = dict(classes=None, label_map=None, palette=[], reduce_zero_label=False)
    usable, notes = usable_meta(dict(dataset_meta=dataset_meta))
    assert usable == dict(dataset_meta=dataset_meta)
    assert not notes


@pytest.mark.parametrize('key', ['epoch', 'iter', 'seed'])
@pytest.mark.parametrize('value', ['3', [3], -1, 1.5, True, {}])
def test_counts_that_are_not_integers_are_ignored_with_a_note(key, value):
    usable, (note,) = usable_meta({key: value})
    assert not usable
    assert f'meta.{key}' in note and 'an integer from 0 to 2**32' in note


@pytest.mark.parametrize('value', [torch.ones(2), b'model = 1', {'model': 1}, ['a'], 7], ids=repr)
def test_a_config_that_is_no_text_is_ignored_with_a_note(value, write):
    usable, (note,) = usable_meta(dict(cfg=value))
    assert not usable and 'meta.cfg' in note and 'expected the text of a config' in note
    assert read_checkpoint(write(dict(cfg=value, epoch=3)))['meta'] == dict(epoch=3)


def test_metadata_nested_too_deeply_for_json_is_ignored(tmp_path):
    file = tmp_path / 'deep.safetensors'
    save_file(WEIGHTS, file, metadata={'dataset_meta': '[' * 100_000, 'epoch': '3'})
    assert read_checkpoint(file)['meta'] == {'epoch': 3}


class Odd:
    """Unpickles as a call of an allowed function with invalid arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'odd',
    [
        Odd(torch._utils._rebuild_tensor_v2),
        Odd(torch._utils._rebuild_tensor_v2, 1, 2, 3, 4, 5, 6),
        Odd(torch._utils._rebuild_parameter, 'a', 'b', 'c'),
        Odd(torch.Size, 'text'),
        Odd(slice),
    ],
    ids=['nothing', 'numbers', 'strings', 'size', 'slice'],
)
def test_a_file_that_misuses_an_allowed_function_is_reported_as_damaged(odd, write):
    with pytest.raises(CheckpointError, match='not a checkpoint, or it is damaged'):
        read_checkpoint(write({'odd': odd}))


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_code_that_mmengine_executes_when_a_run_is_resumed_is_left_out(suffix, write):
    meta = read_checkpoint(write(dict(config='import os', cfg='a = 1', epoch=3), suffix))['meta']
    assert meta == dict(cfg='a = 1', epoch=3)
