"""Results: what other tools get from them, and what users see."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images import write_image
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casvit.drawing.style import Style
from casvit.errors import MissingPackageError
from casvit.inputs.images import ImageError
from casvit.results import Classification, Detections, LocalMask, ResultError, SemanticMap

CLASSES = ('person', 'dog', 'Straße')


def detections(count=3, *, masks=True, height=40, width=60, **more):
    """Rectangles whose masks fill their boxes."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 20, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 19, (count, 2))], 1)
    filled = [LocalMask(x1, y1, np.ones((y2 - y1, x2 - x1), bool)) for x1, y1, x2, y2 in boxes]
    return Detections(
        boxes.astype(np.float32),
        np.linspace(0.9, 0.5, count).astype(np.float32),
        np.arange(count) % 3,
        filled if masks else None,
        classes=CLASSES,
        height=height,
        width=width,
        **more,
    )


def of_every_kind(**more):
    size = dict(classes=CLASSES, height=40, width=60)
    return [
        detections(**more),
        SemanticMap(np.tile(np.arange(60, dtype=np.uint8) // 20, (40, 1)), **size, **more),
        Classification(np.array([0.2, 0.5, 0.3], np.float32), **size, **more),
    ]


@given(st.data())
def test_a_cropped_mask_has_the_same_rle_as_the_full_one(data):
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    bitmap = np.array(bits, bool).reshape(height, width)
    mask = LocalMask.crop(bitmap)
    rle = mask.to_rle(height, width)
    assert rle['size'] == [height, width]
    assert (coco_mask.decode(rle).astype(bool) == bitmap).all()
    assert (mask.dense(height, width) == bitmap).all()


@pytest.mark.parametrize('masks', [True, False])
def test_coco_evaluates_its_records_as_perfect_against_the_same_annotations(masks, tmp_path):
    result = detections(6, masks=masks)
    ids = {'person': 7, 'dog': 3, 'Straße': 90}
    records = json.loads(json.dumps(result.to_coco(11, ids)))
    truth = [
        dict(record, id=index, iscrowd=0, area=record['bbox'][2] * record['bbox'][3])
        for index, record in enumerate(records, 1)
    ]
    content = dict(
        images=[dict(id=11, height=40, width=60, file_name='a.png')],
        categories=[dict(id=number, name=name) for name, number in ids.items()],
        annotations=truth,
    )
    (tmp_path / 'a.json').write_text(json.dumps(content))
    coco = COCO(str(tmp_path / 'a.json'))
    evaluation = COCOeval(coco, coco.loadRes(records), 'segm' if masks else 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)
    assert [record['category_name'] for record in records] == result.names


def test_category_ids_count_from_one_unless_they_are_given():
    for result in of_every_kind():
        found = {record['category_name']: record['category_id'] for record in result.to_coco()}
        assert found == {'person': 1, 'dog': 2, 'Straße': 3}
        found = {r['category_name']: r['category_id'] for r in result.to_coco(0, [5, 6, 8])}
        assert found == {'person': 5, 'dog': 6, 'Straße': 8}
        with pytest.raises(ResultError, match='2 ids for 3 classes'):
            result.to_coco(0, [5, 6])
        with pytest.raises(ResultError, match='no id for dog'):
            result.to_coco(0, {'person': 1, 'Straße': 3})


def test_records_of_detections_are_those_of_image_demo():
    (record,) = detections(1, masks=False).to_records('street.jpg')
    x1, y1, x2, y2 = detections(1).boxes[0].tolist()
    assert record == dict(file='street.jpg', label='person', score=0.9, bbox=[x1, y1, x2, y2])
    (record,) = detections(1).to_records('street.jpg')
    assert (coco_mask.decode(record['mask']) == detections(1).dense_masks[0]).all()


def test_records_of_a_classification_are_the_best_five():
    scores = np.array([0.1, 0.05, 0.4, 0.2, 0.15, 0.08, 0.02], np.float32)
    names = list('abcdefg')
    result = Classification(scores, classes=names, height=4, width=4)
    assert result.to_records('a.jpg')[0] == dict(file='a.jpg', label='c', index=2, score=0.4)
    assert [record['label'] for record in result.to_records('a.jpg')] == list('cdeaf')
    assert [one.name for one in result.top(2)] == ['c', 'd']
    assert [one.name for one in result] == list('cdeafbg')
    assert len(result) == 7


def test_detections_can_be_iterated_one_by_one():
    result = detections(4)
    assert len(result) == 4 and result.names == ['person', 'dog', 'Straße', 'person']
    for index, one in enumerate(result):
        assert (one.box == result.boxes[index]).all()
        assert (one.score, one.class_id) == (result.scores[index], result.class_ids[index])
        assert (one.mask.dense(40, 60) == result.dense_masks[index]).all()
    assert [one.mask for one in detections(2, masks=False)] == [None, None]
    assert detections(2, masks=False).dense_masks is None


def test_detections_can_be_selected_by_index_or_by_condition():
    result = detections(4)
    good = result.select(result.scores > 0.6)
    assert good.names == ['person', 'dog', 'Straße'] and len(good.masks) == 3
    assert result.select(np.array([3, 0])).scores.tolist() == result.scores[[3, 0]].tolist()
    assert len(result.select(np.array([]))) == 0 and not result.select([])


def test_a_result_cannot_be_changed_by_accident():
    for result in of_every_kind():
        with pytest.raises(FrozenInstanceError):
            result.height = 3


def test_a_result_is_summarised_in_one_line():
    found, covered, judged = of_every_kind(file='a.jpg')
    assert repr(found) == '<Detections a.jpg 60x40: 1 person, 1 dog, 1 Straße>'
    assert repr(covered) == '<SemanticMap a.jpg 60x40: person 33%, dog 33%, Straße 33%>'
    assert repr(judged).endswith('60x40: dog 0.50, Straße 0.30, person 0.20>')
    assert repr(detections(0)).endswith('60x40: nothing>')


@pytest.mark.parametrize('suffix', ['.jpg', '.JPEG', '.png', '.webp', '.bmp', '.tif'])
def test_a_result_is_saved_as_its_suffix_says(suffix, tmp_path):
    image = np.full((40, 60, 3), 90, np.uint8)
    for result in of_every_kind(image=image):
        target = tmp_path / f'out{suffix}'
        result.save(target, Style(enlarged=False, legend=False))
        with Image.open(target) as written:
            shown = np.asarray(written.convert('RGB')).astype(int)
        assert shown.shape == image.shape and (shown != 90).any()
        difference = abs(shown - result.draw()).mean()
        # WebP halves the resolution of colours.
        assert difference <= {'.jpg': 8, '.JPEG': 8, '.webp': 16}.get(suffix, 0)
        assert [path.name for path in tmp_path.iterdir()] == [target.name]
        target.unlink()
    assert (image == 90).all()


@pytest.mark.parametrize('name', ['out', 'out.pdf', 'out.gif'])
def test_an_unsupported_suffix_is_answered_with_the_supported_ones(name, tmp_path):
    result = detections(image=np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(ImageError, match=r'out.*\.jpg.*\.png'):
        result.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    result = detections(image=np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(ImageError, match=r'gone/a\.png cannot be written: No such file'):
        result.save(tmp_path / 'gone' / 'a.png')


def test_a_result_of_a_file_reads_the_file_again_to_draw(tmp_path):
    file = write_image(tmp_path / 'a.png', size=(60, 40))
    for result in of_every_kind(file=str(file)):
        with_image = replace(result, image=np.asarray(Image.open(file)))
        assert (result.draw() == with_image.draw()).all()
    write_image(file, size=(50, 40))
    with pytest.raises(ResultError, match=r'60 x 40 pixels.*a\.png has 50 x 40'):
        detections(file=str(file)).draw()
    file.unlink()
    with pytest.raises(ImageError, match=r'a\.png cannot be read: it does not exist'):
        detections(file=str(file)).draw()


def test_a_result_without_an_image_says_so():
    for result in of_every_kind():
        with pytest.raises(ResultError, match='no image to draw on'):
            result.draw()
        assert result._repr_png_() is None


def test_a_notebook_shows_a_large_result_scaled_down():
    image = np.zeros((500, 3000, 3), np.uint8)
    content = detections(height=500, width=3000, image=image)._repr_png_()
    assert content.startswith(b'\x89PNG')
    assert int.from_bytes(content[16:20], 'big') == 1200


@pytest.mark.parametrize('compact', [False, True])
def test_supervision_gets_boxes_names_and_masks(compact, monkeypatch):
    supervision = pytest.importorskip('supervision')
    if compact:
        monkeypatch.setattr('casvit.results.detections.COMPACT', 0)
    result = detections(4)
    # A mask may be smaller than its box, or reach outside it.
    odd = LocalMask(50, 30, np.eye(9, dtype=bool))
    empty = LocalMask(0, 0, np.zeros((0, 0), bool))
    result = replace(result, masks=[*result.masks[:2], odd, empty])
    given = result.to_supervision()
    assert isinstance(given, supervision.Detections) and len(given) == 4
    assert (given.xyxy == result.boxes).all() and (given.confidence == result.scores).all()
    assert given.data['class_name'].tolist() == result.names
    dense = given.mask.to_dense() if compact else given.mask
    assert (dense == result.dense_masks).all()
    assert len(given[given.class_id == 1]) == 1
    drawn = supervision.MaskAnnotator().annotate(np.zeros((40, 60, 3), np.uint8), given)
    assert drawn.any()
    assert detections(2, masks=False).to_supervision().mask is None
    assert len(detections(0).to_supervision()) == 0


def test_a_missing_supervision_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'supervision', None)
    with pytest.raises(MissingPackageError, match=r"pip install 'casvit-mm\[draw\]'"):
        detections().to_supervision()
