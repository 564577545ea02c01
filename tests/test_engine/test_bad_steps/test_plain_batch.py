"""Batches of the toolboxes as plain data, and back."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData

from casvit_mm.engine.bad_steps.batch import (
    NotPlainError,
    images_in,
    not_finite_in,
    plain,
    rebuilt,
)


def through_a_file(value, tmp_path):
    torch.save(plain(value), tmp_path / 'batch.pt')
    # Tensors and plain data only: torch itself refuses anything else.
    return rebuilt(torch.load(tmp_path / 'batch.pt', weights_only=True))


def detection(masks, boxes):
    sample = DetDataSample(
        metainfo=dict(
            img_path='images/a.jpg',
            scale_factor=(np.float64(0.5), 0.5),
            ori_shape=(4, 5),
            homography_matrix=np.eye(3, dtype=np.float32),
            flip=np.bool_(True),
            flip_direction=None,
        )
    )
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([3, 1]), masks=masks)
    sample.ignored_instances = InstanceData(bboxes=boxes[:0])
    return dict(inputs=[torch.arange(12, dtype=torch.uint8).view(3, 2, 2)], data_samples=[sample])


POLYGONS = [[np.array([0.0, 0, 4, 0, 4, 3.5])], [np.array([1.0, 1, 2, 1, 2, 2]), np.arange(8.0)]]


def test_detection_with_polygons_and_boxes(tmp_path):
    boxes = HorizontalBoxes(torch.tensor([[0.0, 0, 4, 3], [1, 1, 2, 2]]))
    batch = detection(PolygonMasks(POLYGONS, 4, 5), boxes)
    back = through_a_file(batch, tmp_path)
    assert torch.equal(back['inputs'][0], batch['inputs'][0])
    (sample,) = back['data_samples']
    assert type(sample) is DetDataSample and sample.img_path == 'images/a.jpg'
    assert sample.scale_factor == (0.5, 0.5) and sample.flip is True
    assert sample.homography_matrix.dtype == np.float32
    assert np.array_equal(sample.homography_matrix, np.eye(3))
    found = sample.gt_instances
    assert type(found.bboxes) is HorizontalBoxes
    assert torch.equal(found.bboxes.tensor, boxes.tensor)
    assert type(found.masks) is PolygonMasks and (found.masks.height, found.masks.width) == (4, 5)
    for polygons, expected in zip(found.masks.masks, POLYGONS, strict=True):
        for polygon, points in zip(polygons, expected, strict=True):
            assert np.array_equal(polygon, points)
    assert len(sample.ignored_instances) == 0
    assert list(images_in(back)) == ['images/a.jpg']


def test_detection_with_bitmaps(tmp_path):
    masks = np.random.default_rng(0).integers(0, 2, (2, 4, 5), dtype=np.uint8)
    back = through_a_file(detection(BitmapMasks(masks, 4, 5), torch.zeros(2, 4)), tmp_path)
    found = back['data_samples'][0].gt_instances
    assert type(found.masks) is BitmapMasks and np.array_equal(found.masks.masks, masks)
    assert torch.equal(found.bboxes, torch.zeros(2, 4))


def test_segmentation(tmp_path):
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(img_path='a.png', img_shape=(4, 5)))
    sample.gt_sem_seg = PixelData(data=torch.arange(20).view(1, 4, 5))
    back = through_a_file([sample], tmp_path)[0]
    assert type(back) is SegDataSample and type(back.gt_sem_seg) is PixelData
    assert torch.equal(back.gt_sem_seg.data, sample.gt_sem_seg.data)


def test_classification(tmp_path):
    from mmpretrain.structures import DataSample

    sample = DataSample(metainfo=dict(img_path='a.png', num_classes=4)).set_gt_label([2])
    back = through_a_file(dict(data_samples=[sample]), tmp_path)['data_samples'][0]
    assert type(back) is DataSample and back.num_classes == 4
    assert torch.equal(back.gt_label, torch.tensor([2]))


@pytest.mark.parametrize('value', [object(), {('a', 'b'): 1}, np.array(['text']), {1, 2}])
def test_anything_else_is_not_plain(value):
    with pytest.raises(NotPlainError):
        plain([value])


def test_values_that_are_not_finite_are_found_in_samples_too():
    boxes = HorizontalBoxes(torch.tensor([[0.0, 0, 4, float('nan')], [1, 1, 2, 2]]))
    batch = detection(PolygonMasks(POLYGONS, 4, 5), boxes)
    places = list(not_finite_in(batch))
    assert places == ['batch.data_samples.0.gt_instances.bboxes']
