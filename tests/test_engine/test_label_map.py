"""Label maps of pictures and of tiles."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from casvit_mm.engine.label_map import LabelMap, stitch
from casvit_mm.engine.tiles import predict_tiled, tiles


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.integers(8, 40),
    overlap=st.integers(0, 7),
)
def test_tiles_that_agree_give_back_the_whole(height, width, tile, overlap):
    labels = np.random.default_rng(0).integers(0, 5, (height, width)).astype(np.uint8)

    def look_up(parts):
        return [LabelMap(part[..., 0]) for part in parts]

    whole = predict_tiled(look_up, labels[..., None], tile, overlap, stitch, batch_size=3)
    np.testing.assert_array_equal(whole.labels, labels)


def test_an_overlap_is_shared_half_and_half():
    windows = tiles(4, 10, tile=6, overlap=2)
    answers = [LabelMap(np.full((4, 6), number, np.uint8)) for number in range(2)]
    assert stitch(answers, windows, 4, 10).labels[0].tolist() == [0] * 5 + [1] * 5


def test_records_count_the_pixels_of_every_class_that_occurs():
    labels = np.array([[2, 2, 2], [0, 2, 2]], np.uint8)
    records = LabelMap(labels).to_records('a.jpg', ('road', 'sky', 'tree'), 2, 3)
    assert records == [
        dict(file='a.jpg', label='tree', index=2, pixels=5, share=0.83333),
        dict(file='a.jpg', label='road', index=0, pixels=1, share=0.16667),
    ]
