"""Images are resized without OpenCV and PyTorch as those two do it."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from casvit.exported.resize import interpolation, resize_bilinear

SIDES = st.integers(1, 150)


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 2**32 - 1))
def test_images_are_resized_bit_for_bit_like_opencv(height, width, new_height, new_width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    expected = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resize_bilinear(image, new_height, new_width), expected)


@pytest.mark.parametrize('factor', [(2, 1), (4, 1), (3, 2), (1, 2), (1, 1)])
def test_whole_factors_are_resized_like_opencv_too(factor):
    down, up = factor
    image = np.random.default_rng(0).integers(0, 256, (120, 168, 3), np.uint8)
    height, width = 120 * up // down, 168 * up // down
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resize_bilinear(image, height, width), expected)


@pytest.mark.parametrize('layout', ['reversed channels', 'transposed', 'every other column'])
def test_images_of_any_memory_layout_are_resized(layout):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    view = {
        'reversed channels': image[..., ::-1],
        'transposed': image.transpose(1, 0, 2),
        'every other column': image[:, ::2],
    }[layout]
    expected = cv2.resize(np.ascontiguousarray(view), (33, 47))
    assert np.array_equal(resize_bilinear(view, 47, 33), expected)


@given(st.integers(1, 60), st.integers(1, 90), st.booleans())
def test_values_are_interpolated_like_pytorch(size, new, align_corners):
    values = torch.rand(1, 1, size, size, dtype=torch.float64)
    expected = functional.interpolate(
        values, (new, new), mode='bilinear', align_corners=align_corners
    )
    matrix = interpolation(size, new, align_corners=align_corners).astype(np.float64)
    assert np.allclose(matrix @ values[0, 0].numpy() @ matrix.T, expected[0, 0], atol=1e-6)
