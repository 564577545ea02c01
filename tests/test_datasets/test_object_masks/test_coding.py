import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle

from casvit_mm.datasets.object_masks.coding import mask_area, mask_bounds


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans()
)
def test_area_and_bounds_of_run_lengths_are_those_of_the_decoded_mask(
    height, width, seed, share, as_list
):
    bitmap = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    encoded = rle.encode(np.asfortranarray(bitmap))
    counts = encoded['counts'].decode()
    if as_list:
        flat = np.concatenate([[0], bitmap.T.ravel(), [2]])
        edges = np.flatnonzero(np.diff(flat))
        counts = np.diff([0, *edges]).tolist()
    segmentation = dict(size=[height, width], counts=counts)
    assert mask_area(segmentation) == bitmap.sum()
    if not bitmap.any():
        assert mask_bounds(segmentation) is None
        return
    rows, columns = np.flatnonzero(bitmap.any(1)), np.flatnonzero(bitmap.any(0))
    assert mask_bounds(segmentation) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


@pytest.mark.parametrize('far', [0.0, 1e6])
def test_area_and_bounds_of_polygons_are_exact(far):
    square = [far + 1, far + 1, far + 5.5, far + 1, far + 5.5, far + 3, far + 1, far + 3]
    triangle = [far, far, far + 2, far, far, far + 2]
    assert mask_area([square, triangle]) == 9 + 2
    assert mask_bounds([square, triangle]) == (far, far, far + 5.5, far + 3)


@pytest.mark.parametrize(
    'segmentation', [None, [], [[1, 2]], 'mask', dict(size=[2, 2], counts=[5]), dict(counts=[4])]
)
def test_what_is_no_mask_has_no_area(segmentation):
    assert mask_area(segmentation) is None
    assert mask_bounds(segmentation) is None
