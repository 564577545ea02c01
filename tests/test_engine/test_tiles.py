"""Tiles cover a picture, and an object comes out of them once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from casvit_mm.engine.detections import Detections, LocalMask
from casvit_mm.engine.tiles import merge, predict_tiled, starts, tiles


@given(st.data())
def test_tiles_cover_a_side_exactly_and_overlap_at_least_as_asked(data):
    tile = data.draw(st.integers(1, 200))
    overlap = data.draw(st.integers(0, tile - 1))
    length = data.draw(st.integers(1, 2000))
    begins = starts(length, tile, overlap)
    ends = [min(begin + tile, length) for begin in begins]
    assert begins[0] == 0 and ends[-1] == length
    for end, begin in zip(ends, begins[1:], strict=False):
        assert end - begin >= overlap
    if len(begins) > 1:
        assert all(end - begin == tile for begin, end in zip(begins, ends, strict=True))
        # One tile fewer would not do.
        assert (len(begins) - 1) * (tile - overlap) + overlap < length


@given(st.integers(1, 300), st.integers(1, 300), st.integers(2, 100))
def test_every_pixel_lies_in_a_tile(height, width, tile):
    seen = np.zeros((height, width), bool)
    for window in tiles(height, width, tile, tile // 3):
        assert 0 <= window.x1 < window.x2 <= width and 0 <= window.y1 < window.y2 <= height
        seen[window.y1 : window.y2, window.x1 : window.x2] = True
    assert seen.all()


@pytest.mark.parametrize('overlap', [-1, 10, 11])
def test_an_overlap_as_large_as_the_tile_is_refused(overlap):
    with pytest.raises(ValueError, match='overlap'):
        starts(100, 10, overlap)


@given(st.data())
def test_a_cropped_mask_has_the_run_length_code_of_the_whole(data):
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    bitmap = np.array(bits, bool).reshape(height, width)
    rle = LocalMask.crop(bitmap).to_rle(height, width)
    assert rle['size'] == [height, width]
    assert (coco_mask.decode(rle).astype(bool) == bitmap).all()


def find_squares(images):
    """A detector of bright rectangles, which sees only what is in its picture."""
    import cv2

    found = []
    for image in images:
        count, components = cv2.connectedComponents((image[..., 0] > 0).astype(np.uint8))
        masks = [LocalMask.crop(components == index) for index in range(1, count)]
        boxes = [(m.x, m.y, m.x + m.bitmap.shape[1], m.y + m.bitmap.shape[0]) for m in masks]
        labels = [int(image[m.y, m.x, 0] > 150) for m in masks]
        found.append(
            Detections(
                np.array(boxes, np.float32).reshape(-1, 4),
                np.linspace(0.9, 0.5, len(masks), dtype=np.float32),
                np.array(labels, np.int64),
                masks,
            )
        )
    return found


@given(st.integers(0, 259), st.integers(0, 179), st.integers(5, 40), st.integers(5, 40))
def test_an_object_smaller_than_the_overlap_is_reported_once_and_whole(x, y, width, height):
    image = np.zeros((220, 300, 3), np.uint8)
    image[y : y + height, x : x + width] = 255
    found = predict_tiled(find_squares, image, 120, 48, merge, batch_size=3)
    box = [x, y, min(x + width, 300), min(y + height, 220)]
    assert found.boxes.tolist() == [box]
    mask = coco_mask.decode(found.masks[0].to_rle(220, 300))
    assert (mask.astype(bool) == (image[..., 0] > 0)).all()


def test_objects_of_two_classes_in_the_overlap_are_both_kept():
    image = np.zeros((100, 180, 3), np.uint8)
    image[40:60, 80:100] = 255
    image[40:60, 60:79] = 100
    found = predict_tiled(find_squares, image, 120, 60, merge)
    assert sorted(found.labels.tolist()) == [0, 1]
    assert len(found) == 2


def test_a_picture_smaller_than_a_tile_is_seen_whole():
    image = np.zeros((50, 60, 3), np.uint8)
    image[10:20, 10:20] = 255
    done = []
    found = predict_tiled(find_squares, image, 120, 30, merge, on_batch=done.append)
    assert done == [1]
    assert found.boxes.tolist() == [[10, 10, 20, 20]]


def test_a_picture_without_objects_gives_no_detection():
    found = predict_tiled(find_squares, np.zeros((300, 300, 3), np.uint8), 120, 30, merge)
    assert len(found) == 0
    assert found.to_records('a.png', ['x'], 300, 300) == []
