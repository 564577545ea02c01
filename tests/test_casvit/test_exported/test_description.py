"""What an exported file says of itself is checked before it is believed."""

import json
from dataclasses import asdict

import pytest

from casvit.exported.description import (
    Description,
    ExportedModelError,
    description_file,
    parse_description,
    read_description,
    require_own_files,
)
from casvit.weights.digest import sha256

VALID = dict(
    format='onnx',
    task='detection',
    model='RetinaNet with CAS-ViT-XS',
    classes=['cat', 'Füchse'],
    palette=[[1, 2, 3], [4, 5, 6]],
    size=[64, 96],
    batch=1,
    preparation=[dict(step='resize', to=[64, 96], keep_ratio=False, method='bilinear')],
)


def text(**changes):
    return json.dumps({'version': 1, **VALID, **changes})


def test_a_description_survives_json():
    description = parse_description(text(), 'a.onnx')
    again = parse_description(description.to_json(), 'a.onnx')
    assert again == description and again.size == (64, 96) and again.classes[1] == 'Füchse'
    assert set(json.loads(description.to_json())) == {'version', *asdict(description)}


def test_values_that_a_later_version_adds_are_ignored():
    assert isinstance(parse_description(text(novelty=3), 'a.onnx'), Description)


@pytest.mark.parametrize('content', ['', '{', '[]', '{"task": "detection"}', '[' * 100_000])
def test_a_file_without_a_description_is_a_sentence(content):
    with pytest.raises(ExportedModelError, match=r'^a\.onnx has no description .* export'):
        parse_description(content, 'a.onnx')


def test_a_description_of_another_version_is_a_sentence():
    with pytest.raises(ExportedModelError, match='exported by version 9 of casvit-mm'):
        parse_description(text(version=2, casvit='9'), 'a.onnx')


@pytest.mark.parametrize(
    'changes',
    [
        dict(task='poetry'),
        dict(classes=[]),
        dict(classes=3),
        dict(classes=[1, 2]),
        dict(palette=[[1, 2, 3]]),
        dict(palette=[[1, 2, 3], [4, 5, 600]]),
        dict(palette=[[1, 2], [3, 4]]),
        dict(size=[64]),
        dict(size=[64, -1]),
        dict(size='big'),
        dict(precision='fp8'),
        dict(precision=[16]),
        dict(batch=0),
        dict(batch='many'),
        dict(score_threshold=2),
        dict(score_threshold='high'),
        dict(mask_stride=-8),
        dict(preparation=[dict(step='os.system')]),
        dict(preparation=None),
        dict(files={'a': 1}),
        dict(files=['a']),
        dict(raw='everything'),
        dict(model=None),
    ],
    ids=str,
)
def test_invalid_descriptions_are_a_sentence(changes):
    with pytest.raises(ExportedModelError, match=r'The description in a\.onnx is invalid'):
        parse_description(text(**changes), 'a.onnx')


def test_a_missing_value_is_a_sentence():
    values = {key: value for key, value in VALID.items() if key != 'classes'}
    with pytest.raises(ExportedModelError, match='missing'):
        parse_description(json.dumps({'version': 1, **values}), 'a.onnx')


def test_other_files_have_to_lie_in_the_same_folder_and_be_the_same(tmp_path):
    model, weights = tmp_path / 'a.xml', tmp_path / 'a.bin'
    with pytest.raises(ExportedModelError, match=r'a\.xml has no description'):
        read_description(model)
    weights.write_bytes(b'weights')
    files = {'a.bin': sha256(weights)}
    description_file(model).write_text(text(files=files))
    description = read_description(model)
    require_own_files(description, model)
    weights.write_bytes(b'weighty')
    with pytest.raises(ExportedModelError, match='has changed since the export'):
        require_own_files(description, model)
    weights.unlink()
    with pytest.raises(ExportedModelError, match='is missing'):
        require_own_files(description, model)
    for name in ('../a.bin', '/etc/passwd', 'sub/a.bin'):
        elsewhere = parse_description(text(files={name: files['a.bin']}), 'a.xml')
        with pytest.raises(ExportedModelError, match='not in its own folder'):
            require_own_files(elsewhere, model)
