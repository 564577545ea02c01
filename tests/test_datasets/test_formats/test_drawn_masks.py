"""Semantic masks that are drawn from polygons and run-length masks of objects."""

import time

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from casvit.errors import DatasetError
from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.formats.dataset import ObjectDataset, ObjectSplit
from casvit_mm.datasets.formats.semantic.drawing import draw_masks
from casvit_mm.datasets.issues import Severity


def square(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def dataset_of(root, annotations, names=('cat', 'dog'), size=(40, 30)):
    """A dataset of one image with these annotations: (class, segmentation, further fields)."""
    root.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(root / 'a.png')
    records = [
        dict(id=number, image_id=1, category_id=category, segmentation=segmentation, iscrowd=0)
        for number, (category, segmentation, *_) in enumerate(annotations)
    ]
    for record, (*_, more) in zip(records, annotations, strict=True):
        record.update(more if isinstance(more, dict) and 'counts' not in more else {})
    content = dict(
        images=[dict(id=1, file_name='a.png', width=size[0], height=size[1])],
        annotations=records,
        categories=[dict(id=key, name=name) for key, name in enumerate(names, 1)],
    )
    return ObjectDataset('LabelMe', root, {'train': ObjectSplit(content, root, root)})


def drawn(dataset, folder):
    masks = draw_masks(dataset, folder)
    (pair,) = masks.splits['train']
    return masks, np.array(Image.open(pair.mask))


def test_the_background_is_0_and_classes_follow_in_order(tmp_path):
    dataset = dataset_of(tmp_path / 'data', [(1, square(2, 3, 10)), (2, square(20, 5, 8))])
    masks, labels = drawn(dataset, tmp_path / 'masks')
    assert masks.classes == ['background', 'cat', 'dog']
    expected = np.zeros((30, 40), np.uint8)
    expected[3:13, 2:12], expected[5:13, 20:28] = 1, 2
    assert np.array_equal(labels, expected)
    audit = audit_masks(masks, progress=False)
    assert not audit.issues.of(Severity.ERROR) and audit.verbatim


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_smaller_objects_lie_on_top_whatever_their_order(tmp_path, order):
    objects = [(1, square(2, 2, 20)), (2, square(6, 6, 5))]
    dataset = dataset_of(tmp_path / 'data', [objects[index] for index in order])
    _, labels = drawn(dataset, tmp_path / 'masks')
    assert labels[8, 8] == 2 and labels[3, 3] == 1


def test_crowds_and_boxes_without_a_mask_are_ignored_beneath_the_objects(tmp_path):
    dataset = dataset_of(
        tmp_path / 'data',
        [
            (1, square(2, 2, 20)),
            (2, dict(size=[30, 40], counts=[1000, 100, 100]), dict(iscrowd=1)),
            (2, None, dict(bbox=[25, 2, 6, 7])),
        ],
    )
    masks, labels = drawn(dataset, tmp_path / 'masks')
    assert (labels[2:9, 25:31] == 255).all()
    assert labels.T.ravel()[1050] == 255 and labels[10, 10] == 1
    assert any('1 crowd: ignored' in note for note in masks.notes)
    assert any('1 box of objects without a mask: ignored' in note for note in masks.notes)


def test_run_lengths_and_polygons_of_the_same_object_give_the_same_mask(tmp_path):
    polygon = [[3.4, 2.2, 30.6, 5.2, 22.4, 27.8, 4.0, 20.6], [32.0, 25.0, 39.0, 25.0, 36.0, 30.0]]
    encoded = rle.merge(rle.frPyObjects(polygon, 30, 40))
    runs = dict(size=encoded['size'], counts=encoded['counts'].decode())
    found = [
        drawn(dataset_of(tmp_path / name, [(1, segmentation)]), tmp_path / f'{name}-masks')[1]
        for name, segmentation in (('polygon', polygon), ('runs', runs))
    ]
    assert np.array_equal(*found) and found[0].any()


def test_a_class_called_background_is_the_background(tmp_path):
    objects = [(1, square(2, 2, 20)), (2, square(5, 5, 6))]
    dataset = dataset_of(tmp_path / 'data', objects, names=('leaf', '_background_'))
    masks, labels = drawn(dataset, tmp_path / 'masks')
    assert masks.classes == ['background', 'leaf']
    assert labels[7, 7] == 0 and labels[3, 3] == 1


def test_coordinates_outside_the_image_are_clipped(tmp_path):
    dataset = dataset_of(tmp_path / 'data', [(1, square(-10, -10, 20)), (2, square(100, 100, 5))])
    _, labels = drawn(dataset, tmp_path / 'masks')
    assert (labels[:10, :10] == 1).all() and set(np.unique(labels)) == {0, 1}


def test_boxes_alone_and_too_many_classes_are_one_sentence(tmp_path):
    with pytest.raises(DatasetError, match=r'No object in .* has a polygon'):
        draw_masks(dataset_of(tmp_path / 'a', [(1, None)]), tmp_path / 'masks')
    names = [f'kind {index}' for index in range(300)]
    dataset = dataset_of(tmp_path / 'b', [(1, square(1, 1, 9))], names=names)
    with pytest.raises(DatasetError, match='255 classes at most'):
        draw_masks(dataset, tmp_path / 'masks')


def test_sixty_polygons_in_12_megapixels_take_well_below_a_second(tmp_path):
    rng = np.random.default_rng(0)
    objects = [
        (1, square(*rng.integers(0, 2500, 2).tolist(), int(rng.integers(20, 300))))
        for _ in range(60)
    ]
    dataset = dataset_of(tmp_path / 'data', objects, size=(4000, 3000))
    start = time.process_time()
    drawn(dataset, tmp_path / 'masks')
    assert time.process_time() - start < 1.5
