"""Semantic maps of images and of tiles."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from casvit.inputs.tiles import predict_tiled, stitch, tiles
from casvit.results import SemanticMap

CLASSES = ('road', 'sky', 'tree', 'car', 'person')


def semantic_map(class_ids):
    height, width = class_ids.shape
    return SemanticMap(class_ids, classes=CLASSES, height=height, width=width)


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.integers(8, 40),
    overlap=st.integers(0, 7),
)
def test_consistent_tiles_give_the_result_of_the_whole_image(height, width, tile, overlap):
    class_ids = np.random.default_rng(0).integers(0, 5, (height, width)).astype(np.uint8)

    def look_up(parts):
        return [semantic_map(part[..., 0]) for part in parts]

    whole = predict_tiled(look_up, class_ids[..., None], tile, overlap, stitch, batch_size=3)
    np.testing.assert_array_equal(whole.class_ids, class_ids)
    assert (whole.height, whole.width) == (height, width)


def test_an_overlap_is_divided_in_the_middle():
    windows = tiles(4, 10, tile=6, overlap=2)
    answers = [semantic_map(np.full((4, 6), number, np.uint8)) for number in range(2)]
    assert stitch(answers, windows, 4, 10).class_ids[0].tolist() == [0] * 5 + [1] * 5


def test_records_count_the_pixels_of_every_class_that_occurs():
    result = semantic_map(np.array([[2, 2, 2], [0, 2, 2]], np.uint8))
    assert result.to_records('a.jpg') == [
        dict(file='a.jpg', label='tree', index=2, pixels=5, share=0.83333),
        dict(file='a.jpg', label='road', index=0, pixels=1, share=0.16667),
    ]
    assert len(result) == 2 and [area.name for area in result] == ['tree', 'road']


@given(
    st.integers(1, 9), st.integers(1, 9), st.sampled_from([np.uint8, np.uint16]), st.integers(0, 99)
)
def test_coco_records_hold_the_pixels_of_each_class(height, width, kind, seed):
    class_ids = np.random.default_rng(seed).integers(0, 5, (height, width)).astype(kind)
    records = semantic_map(class_ids).to_coco(7)
    assert {record['image_id'] for record in records} == {7}
    decoded = np.full((height, width), -1)
    for record in records:
        index = CLASSES.index(record['category_name'])
        assert record['category_id'] == index + 1
        decoded[coco_mask.decode(record['segmentation']).astype(bool)] = index
    assert (decoded == class_ids).all()
