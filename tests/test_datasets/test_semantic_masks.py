"""The values that semantic masks may have, and the messages about others."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.semantic_masks import (
    LabelRange,
    check_semantic_mask,
    mask_size,
    upright_size,
)


def write(path, values):
    cv2.imwrite(str(path), np.asarray(values))
    return path


@given(
    classes=st.integers(1, 254),
    reduce_zero_label=st.booleans(),
    values=st.lists(st.integers(0, 255), min_size=1),
)
def test_a_value_is_out_of_range_only_if_it_is_no_class_after_loading(
    classes, reduce_zero_label, values
):
    stored = np.array(values)
    loaded = stored.copy()
    if reduce_zero_label:
        # As mmseg loads it.
        loaded[loaded == 0] = 255
        loaded = loaded - 1
        loaded[loaded == 254] = 255
    allowed = LabelRange(classes, reduce_zero_label)
    outside = {int(value) for value in allowed.outside(stored)}
    # 255 in the file is always ignored.
    expected = {
        s
        for s, value in zip(values, loaded.tolist(), strict=True)
        if value >= classes and value != 255
    }
    assert outside == expected - {255}


def test_a_mask_of_class_indices_and_ignored_pixels_passes(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[0, 1], [2, 255]], np.uint8))
    assert check_semantic_mask(path, LabelRange(3)) == {0, 1, 2, 255}


def test_a_value_outside_the_classes_is_named_with_file_and_count(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[0, 1, 7], [7, 9, 255]], np.uint8))
    with pytest.raises(DatasetError) as found:
        check_semantic_mask(path, LabelRange(3))
    message = str(found.value)
    assert str(path) in message
    assert '7 in 2 pixels, 9 in 1 pixel,' in message
    assert '0 to 2 (3 classes) and 255 (ignored)' in message


def test_classes_that_start_at_1_are_detected(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[0, 1, 3]], np.uint8))
    with pytest.raises(DatasetError, match='reduce_zero_label=True'):
        check_semantic_mask(path, LabelRange(3))
    check_semantic_mask(path, LabelRange(3, reduce_zero_label=True))


def test_a_value_above_255_is_found_before_it_wraps_around(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[0, 256]], np.uint16))
    with pytest.raises(DatasetError, match='256 in 1 pixel'):
        check_semantic_mask(path, LabelRange(3))


@pytest.mark.parametrize('mode', ['RGB', 'RGBA'])
def test_a_colour_image_is_not_a_semantic_mask(tmp_path, mode):
    path = tmp_path / 'a.png'
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(DatasetError, match=f'colour image .mode {mode}.*one channel'):
        check_semantic_mask(path, LabelRange(3))


@pytest.mark.parametrize('mode', ['L', 'P', 'I;16'])
def test_index_images_of_any_depth_and_with_a_palette_are_semantic_masks(tmp_path, mode):
    path = tmp_path / 'a.png'
    Image.new(mode, (6, 4)).save(path)
    assert mask_size(path) == (6, 4)
    check_semantic_mask(path, LabelRange(1))


def test_the_size_of_a_rotated_image_is_the_upright_one(tmp_path):
    path = tmp_path / 'a.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 30)).save(path, exif=exif)
    height, width = cv2.imread(str(path)).shape[:2]
    assert upright_size(path) == (width, height) == (30, 40)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'a.png').write_text('no image')
    with pytest.raises(DatasetError, match=r'a\.png is damaged or not an image'):
        check_semantic_mask(tmp_path / 'a.png', LabelRange(3))
    with pytest.raises(DatasetError, match=r'b\.png does not exist'):
        upright_size(tmp_path / 'b.png')
    whole = write(tmp_path / 'c.png', np.random.default_rng(0).integers(0, 3, (64, 64)))
    whole.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r'c\.png cannot be read: image file is trunc'):
        check_semantic_mask(whole, LabelRange(3))
