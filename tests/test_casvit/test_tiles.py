"""Tiles cover an image, and each object is reported once."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casvit.inputs.tiles import merge, nms_by_class, predict_tiled, starts, tiles
from casvit.results import Detections, LocalMask


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
        # One tile fewer would not be enough.
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


def find_squares(images):
    """A detector of bright rectangles that sees only the current tile."""
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
                classes=('grey', 'white'),
                height=image.shape[0],
                width=image.shape[1],
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
    assert (found.dense_masks[0] == (image[..., 0] > 0)).all()


def test_objects_of_two_classes_in_the_overlap_are_both_kept():
    image = np.zeros((100, 180, 3), np.uint8)
    image[40:60, 80:100] = 255
    image[40:60, 60:79] = 100
    found = predict_tiled(find_squares, image, 120, 60, merge)
    assert sorted(found.class_ids.tolist()) == [0, 1]
    assert len(found) == 2


def test_an_image_smaller_than_a_tile_is_predicted_whole():
    image = np.zeros((50, 60, 3), np.uint8)
    image[10:20, 10:20] = 255
    found = predict_tiled(find_squares, image, 120, 30, merge)
    assert found.boxes.tolist() == [[10, 10, 20, 20]]


def test_a_background_image_gives_no_detections():
    found = predict_tiled(find_squares, np.zeros((300, 310, 3), np.uint8), 120, 30, merge)
    assert len(found) == 0 and (found.height, found.width) == (300, 310)
    assert found.to_records('a.png') == []


def test_progress_goes_from_none_to_all_tiles_of_an_image():
    told = []
    image = np.zeros((300, 310, 3), np.uint8)
    predict_tiled(
        find_squares, image, 120, 30, merge, batch_size=4, on_tiles=lambda *n: told.append(n)
    )
    assert told == [(0, 12), (4, 12), (8, 12), (12, 12)]


def numbers(seed, count, far, grid):
    """Boxes of a few classes, many overlapping, many with equal scores.

    Coordinates are multiples of a power of two, so that what other implementations add to them,
    to keep classes apart, is not rounded.
    """
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, far * grid, (count, 2)) / grid
    corners = np.where(rng.random((count, 1)) < 0.7, corners % 40, corners)
    sides = rng.integers(0, 60 * grid, (count, 2)) / grid
    boxes = np.concatenate([corners, corners + sides], 1).astype(np.float32)
    scores = rng.integers(0, 20, count).astype(np.float32) / 20
    return boxes, scores, rng.integers(0, 3, count)


@pytest.mark.parametrize(('far', 'grid'), [(50, 1), (300, 16), (300_000, 1), (2_000_000, 1)])
@pytest.mark.parametrize('count', [0, 1, 2, 40, 700])
def test_suppression_keeps_what_mmcv_and_torchvision_keep(count, far, grid):
    torch = pytest.importorskip('torch')
    from mmcv.ops import batched_nms
    from torchvision.ops import batched_nms as of_torchvision

    for seed in range(5):
        boxes, scores, class_ids = numbers(seed, count, far, grid)
        kept = nms_by_class(boxes, scores, class_ids, 0.5)
        tensors = tuple(map(torch.from_numpy, (boxes, scores, class_ids)))
        assert sorted(kept) == sorted(of_torchvision(*tensors, 0.5).tolist())
        assert (np.diff(scores[kept]) <= 0).all()
        # mmcv does not order equal scores.
        scores = np.random.default_rng(seed).permutation(count).astype(np.float32) / (count + 1)
        kept = nms_by_class(boxes, scores, class_ids, 0.5)
        if count:
            tensors = tuple(map(torch.from_numpy, (boxes, scores, class_ids)))
            _, expected = batched_nms(*tensors, dict(type='nms', iou_threshold=0.5))
            assert kept.tolist() == expected.tolist()


def test_many_boxes_of_a_large_image_are_merged_quickly():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 20_000, (30_000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 60, (30_000, 2))], 1)
    began = time.process_time()
    kept = nms_by_class(boxes.astype(np.float32), rng.random(30_000), np.zeros(30_000, int), 0.5)
    assert 20_000 < len(kept) < 30_000
    assert time.process_time() - began < 10
