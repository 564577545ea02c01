"""Copy-paste in pipelines of one image."""

import copy
import random

import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS

from casvit.errors import DatasetError
from casvit_mm.datasets import CachedCopyPaste

pytest.importorskip('mmdet')
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks


def image_of(value, height, width, boxes, ignored=(), polygons=True):
    """A plain image with rectangular objects, whose masks are the boxes."""
    if polygons:
        outlines = [[np.array([x, y, a, y, a, b, x, b], float)] for x, y, a, b in boxes]
        masks = PolygonMasks(outlines, height, width)
    else:
        planes = np.zeros((len(boxes), height, width), np.uint8)
        for plane, (x, y, a, b) in zip(planes, boxes, strict=True):
            plane[y:b, x:a] = 1
        masks = BitmapMasks(planes, height, width)
    return dict(
        img=np.full((height, width, 3), value, np.uint8),
        gt_bboxes=HorizontalBoxes(np.array(boxes, np.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.full(len(boxes), value, np.int64),
        gt_ignore_flags=np.array([place in ignored for place in range(len(boxes))]),
        gt_masks=masks,
    )


@pytest.fixture(autouse=True)
def _seeds():
    random.seed(0)
    np.random.seed(0)


@pytest.mark.parametrize('polygons', [True, False], ids=['polygons', 'bitmaps'])
@pytest.mark.parametrize('size', [(40, 60), (30, 80), (90, 50)], ids=str)
def test_objects_are_pasted_with_their_pixels_boxes_labels_and_masks(polygons, size):
    transform = TRANSFORMS.build(dict(type='CachedCopyPaste', prob=1.0))
    transform.transform(image_of(7, 40, 60, [(2, 3, 20, 25)], polygons=polygons))
    found = transform.transform(image_of(1, *size, [(30, 5, 45, 28)], polygons=polygons))
    assert list(found['gt_bboxes_labels']) == [1, 7]
    assert found['img'].shape == (*size, 3) and found['img'].dtype == np.uint8
    masks = found['gt_masks'].masks
    assert masks.shape == (2, *size)
    # Both ways of drawing a polygon agree within a pixel at its border.
    np.testing.assert_allclose(found['gt_bboxes'].tensor[1], [2, 3, 20, 25], atol=1)
    assert np.array_equal(found['img'][..., 0] == 7, masks[1] == 1)
    assert abs(int(masks[1].sum()) - 18 * 22) <= 40
    assert 'mix_results' not in found


def test_an_object_that_is_covered_loses_its_mask_and_one_beside_it_keeps_all():
    transform = CachedCopyPaste(prob=1.0)
    transform.transform(image_of(7, 50, 50, [(0, 0, 30, 30)], polygons=False))
    below = [(5, 5, 25, 25), (32, 32, 48, 48)]
    found = transform.transform(image_of(1, 50, 50, below, polygons=False))
    # 20 x 20 pixels, of which nothing is left.
    assert list(found['gt_bboxes_labels']) == [1, 7]
    np.testing.assert_array_equal(found['gt_bboxes'].tensor[0], [32, 32, 48, 48])
    assert found['gt_masks'].masks[0].sum() == 16 * 16


def test_an_object_outside_a_smaller_image_is_not_pasted():
    transform = CachedCopyPaste(prob=1.0)
    transform.transform(image_of(7, 80, 80, [(60, 60, 75, 75)]))
    image = image_of(1, 40, 40, [(3, 3, 20, 20)])
    found = transform.transform(copy.deepcopy(image))
    np.testing.assert_array_equal(found['img'], image['img'])
    assert list(found['gt_bboxes_labels']) == [1]


def test_regions_to_ignore_are_not_pasted_and_background_gets_objects():
    transform = CachedCopyPaste(prob=1.0)
    objects = [(0, 0, 10, 10), (20, 20, 39, 39)]
    transform.transform(image_of(7, 40, 40, objects, ignored=[0], polygons=False))
    found = transform.transform(image_of(1, 40, 40, [], polygons=False))
    np.testing.assert_array_equal(found['gt_bboxes'].tensor, [[20, 20, 39, 39]])
    assert not found['gt_ignore_flags'].any()
    # Background has nothing to give: the next image gets the same object.
    assert 7 in transform.transform(image_of(2, 40, 40, []))['gt_bboxes_labels']


def test_what_is_remembered_is_the_image_before_pasting_and_stays_as_it_was():
    transform = CachedCopyPaste(prob=1.0, max_cached_images=1)
    first = image_of(7, 40, 40, [(0, 0, 10, 10)], polygons=False)
    transform.transform(first)
    first['img'][:] = 99
    second = transform.transform(image_of(1, 40, 40, [(20, 20, 30, 30)], polygons=False))
    assert (second['img'][:10, :10] == 7).all()
    third = transform.transform(image_of(2, 40, 40, [], polygons=False))
    assert list(third['gt_bboxes_labels']) == [1]
    assert set(np.unique(third['img'])) == {1, 2}


def test_the_share_of_images_is_as_asked_and_repeats_with_the_seed():
    def covered(prob):
        """Which objects lie below one that was pasted at the same place."""
        np.random.seed(3)
        transform = CachedCopyPaste(prob=prob)
        images = [image_of(value, 30, 30, [(5, 5, 25, 25)]) for value in range(200)]
        return [
            place not in transform.transform(image)['gt_bboxes_labels']
            for place, image in enumerate(images)
        ]

    assert covered(0.5) == covered(0.5)
    assert 70 <= sum(covered(0.5)) <= 130
    assert sum(covered(0.0)) == 0 and sum(covered(1.0)) == 199


def test_boxes_stay_boxes_of_torch():
    transform = CachedCopyPaste(prob=1.0)
    for value in (1, 2):
        found = transform.transform(image_of(value, 30, 30, [(value, 2, 20, 20)]))
    assert found['gt_bboxes'].tensor.dtype == torch.float32
    assert isinstance(found['gt_bboxes'], HorizontalBoxes)


def test_without_masks_the_transform_says_what_to_load():
    image = image_of(1, 30, 30, [(2, 2, 20, 20)])
    del image['gt_masks']
    with pytest.raises(DatasetError, match='with_mask=True'):
        CachedCopyPaste().transform(image)
