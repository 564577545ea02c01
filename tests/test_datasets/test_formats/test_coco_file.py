import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.audit.coco_records import scan_coco
from casvit_mm.datasets.formats.coco.complete import complete, missing_parts, strip_names
from casvit_mm.datasets.formats.coco.file import load_coco

SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]
GOOD = dict(
    images=[
        dict(id=1, file_name='a.jpg', width=10, height=10),
        dict(id=2, file_name='b.jpg', width=10, height=10),
    ],
    annotations=[
        dict(
            id=5, image_id=1, category_id=3, bbox=[1, 1, 4, 4], area=16, iscrowd=0,
            segmentation=SQUARE,
        ),
        dict(
            id=6, image_id=2, category_id=8, bbox=[1.0, 1, 4, 4], area=16.0, iscrowd=1,
            segmentation=dict(counts=[100], size=[10, 10]),
        ),
    ],
    categories=[dict(id=3, name='cat'), dict(id=8, name='dog')],
)  # fmt: skip


def written(folder: Path, content: Any) -> Path:
    path = folder / 'instances.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(keys: list[Any], value: Any) -> dict[str, Any]:
    """GOOD with one value replaced, or removed if the new one is KeyError."""
    content = copy.deepcopy(GOOD)
    node = content
    for key in keys[:-1]:
        node = node[key]
    if value is KeyError:
        del node[keys[-1]]
    else:
        node[keys[-1]] = value
    return content


def issues_of(path: Path) -> list[str]:
    """What a run that reads the file would be told: missing parts, and issues."""
    content, encoding = load_coco(path)
    scan = scan_coco(content, str(path), masks=True)
    return missing_parts(content, encoding) + [str(issue) for issue in scan.issues.issues]


def test_a_good_file_is_summarised(tmp_path: Path) -> None:
    scan = scan_coco(load_coco(written(tmp_path, GOOD))[0], 'x.json', masks=True)
    assert [record['file_name'] for _, record in scan.images.values()] == ['a.jpg', 'b.jpg']
    assert scan.categories == {3: 'cat', 8: 'dog'}
    assert [record['id'] for _, record in scan.annotations] == [5, 6]
    assert scan.learnable == 1, 'the other is a crowd'
    assert scan.issues.counts() == {'crowd': 1}


def test_a_file_without_annotations_can_be_read(tmp_path: Path) -> None:
    for value in (KeyError, [], None):
        content, _ = load_coco(written(tmp_path, changed(['annotations'], value)))
        assert not scan_coco(content, 'x.json').issues.issues


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', r'is not JSON: Expecting value \(line 1, column 1\)'),
        ('{"images": [', r'is not JSON'),
        ('<annotation/>', r'is not JSON'),
        ('[{"image_id": 1}]', r'not a COCO annotation file: it is a list \(of predictions\?\)'),
        ('3', r'it is a number, not an object'),
        ('null', r'it is null'),
        ('{}', r"'images' is missing \(found: nothing\)"),
        ('{"shapes": [], "imagePath": ""}', r"'images' is missing \(found: 'shapes', 'imagePath'"),
        ('{"images": {}}', r"'images' is an object, not a list"),
        ('{"images": []}', r"'categories' is missing"),
    ],
)
def test_a_file_that_is_not_coco_is_refused_with_the_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DatasetError, match=message) as caught:
        load_coco(path)
    assert str(path) in str(caught.value)


def test_an_image_given_as_annotation_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'photo.jpg'
    path.write_bytes(b'\xff\xd8\xff\xe0\x80\x81')
    with pytest.raises(DatasetError, match='is not JSON text'):
        load_coco(path)


@pytest.mark.parametrize('name', ['nothing.json', '.'])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match='cannot be read'):
        load_coco(tmp_path / name)


@pytest.mark.parametrize(
    ('keys', 'value', 'message'),
    [
        (['images', 1], 7, r'images\[1\] is not an object'),
        (['images', 1, 'id'], KeyError, r"images\[1\] has no 'id'"),
        (['images', 1, 'id'], 1, r'images\[1\] \(id 1\) has the same id as images\[0\]'),
        (['images', 1, 'id'], [2], r'images\[1\] .* has id = \[2\]'),
        (['images', 1, 'file_name'], KeyError, r"images\[1\] \(id 2\) has no 'file_name'"),
        (['images', 1, 'file_name'], 5, r'has file_name = 5'),
        (['images', 1, 'height'], KeyError, r"1 image has no 'width' and 'height'"),
        (['images', 1, 'width'], '10', r"has width = '10'"),
        (['images', 1, 'width'], 0, r'has width = 0'),
        (['categories', 0, 'name'], KeyError, r"categories\[0\] \(id 3\) has no 'name'"),
        (['categories', 0, 'name'], 4, r'has name = 4'),
        (['categories', 1, 'name'], 'cat', r"has the name 'cat', which another category"),
        (['annotations', 1, 'id'], 5, r'annotations\[1\] \(id 5\) has the same id as'),
        (['annotations', 1, 'image_id'], KeyError, r"annotations\[1\] \(id 6\) has no 'image_id'"),
        (['annotations', 1, 'image_id'], None, r'has image_id = None'),
        (['annotations', 1, 'category_id'], {}, r'has category_id = {}'),
        (['annotations', 1, 'bbox'], KeyError, r"has no 'bbox'"),
        (['annotations', 1, 'bbox'], [1, 2, 3], r'has bbox = \[1, 2, 3\]'),
        (['annotations', 1, 'bbox'], [1, 2, 3, None], r'has bbox = '),
        (['annotations', 1, 'bbox'], [1, 2, 3, float('nan')], r'has bbox = '),
        (['annotations', 1, 'bbox'], ['x' * 99], r'xxx\.\.\.'),
        (['annotations', 1, 'area'], KeyError, r"1 annotation has no 'area'"),
        (['annotations', 1, 'area'], '16', r"1 annotation has no 'area'"),
        (['annotations', 1, 'iscrowd'], KeyError, r"1 annotation has no 'iscrowd'"),
        (['annotations', 1, 'segmentation'], KeyError, r'has no segmentation'),
        (['annotations', 1, 'segmentation'], [], r'has no segmentation'),
    ],
)
def test_an_invalid_record_is_named(
    tmp_path: Path, keys: list[Any], value: Any, message: str
) -> None:
    found = issues_of(written(tmp_path, changed(keys, value)))
    assert any(re.search(message, each) for each in found), found


# Kernels built by torch.compile of torch 2.1 disable subnormal numbers in the whole process.
floats = st.floats(allow_subnormal=False)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | floats | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)
places = st.sampled_from(
    [
        [key, index, field]
        for key, records in GOOD.items()
        for index, record in enumerate(records)
        for field in record
    ]
    + [[key, 0] for key in GOOD]
    + [[key] for key in GOOD]
)


@settings(max_examples=200)
@given(keys=places, value=anything)
def test_any_content_is_either_read_or_refused_with_a_message(
    tmp_path_factory: pytest.TempPathFactory, keys: list[Any], value: Any
) -> None:
    path = written(tmp_path_factory.getbasetemp(), changed(keys, value))
    try:
        issues_of(path)
        content, _ = load_coco(path)
        complete(content, lambda image: (10, 10))
        strip_names(content)
    except DatasetError as error:
        assert str(path) in str(error)
