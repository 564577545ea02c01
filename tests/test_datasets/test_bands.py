"""Images of any number of bands: reading, normalising, and showing them."""

import io
import sys

import cv2
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from casvit.errors import DatasetError, MissingPackageError
from casvit.inputs import bands
from casvit.inputs.bands import as_colours, decode_bands, size_of_bands
from casvit.inputs.images import ImageError
from casvit_mm.datasets import LoadBands, NormalizeBands
from casvit_mm.datasets.image_files import read_image_size

HEIGHT, WIDTH = 20, 30


def pixels(count, kind='uint8'):
    """Different values in every band and pixel."""
    values = np.random.default_rng(count).integers(1, 250, (HEIGHT, WIDTH, count))
    return values.astype(kind)


def write(file, array, **options):
    if file.suffix == '.npy':
        np.save(file, array)
    elif file.suffix == '.tif':
        pytest.importorskip('tifffile').imwrite(file, array, **options)
    else:
        # OpenCV writes blue first.
        order = [2, 1, 0, 3][: array.shape[2]] if array.shape[2] > 1 else [0]
        assert cv2.imwrite(str(file), array[..., order])
    return file


@pytest.mark.parametrize(
    ('suffix', 'count', 'kind'),
    [
        *[('.npy', count, kind) for count in (1, 4, 8, 13) for kind in ('uint8', 'float32')],
        *[('.tif', count, kind) for count in (1, 3, 4, 8) for kind in ('uint8', 'uint16')],
        ('.tif', 5, 'float32'),
        *[('.png', count, kind) for count in (1, 3, 4) for kind in ('uint8', 'uint16')],
    ],
)
def test_bands_are_read_as_they_are_stored(suffix, count, kind, tmp_path):
    stored = pixels(count, kind)
    options = dict(photometric='minisblack', planarconfig='contig') if count > 1 else {}
    array = stored[..., 0] if suffix == '.tif' and count == 1 else stored
    file = write(tmp_path / f'a{suffix}', array, **(options if suffix == '.tif' else {}))
    read = decode_bands(file.read_bytes(), str(file))
    assert read.dtype == stored.dtype
    np.testing.assert_array_equal(read, stored)
    assert read_image_size(file).upright == (WIDTH, HEIGHT)


@pytest.mark.parametrize('form', ['planes', 'pages'])
def test_a_tiff_with_a_plane_or_a_page_for_each_band_is_the_same(form, tmp_path):
    stored = pixels(5, 'uint16')
    planes = stored.transpose(2, 0, 1)
    options = dict(planarconfig='separate') if form == 'planes' else {}
    file = write(tmp_path / 'a.tif', planes, photometric='minisblack', **options)
    np.testing.assert_array_equal(decode_bands(file.read_bytes(), 'a.tif'), stored)
    assert size_of_bands(file) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    'content',
    [b'', b'no image', b'\x93NUMPY broken', b'II*\0 broken', b'\x89PNG\r\n\x1a\n broken'],
    ids=['empty', 'text', 'npy', 'tiff', 'png'],
)
def test_a_damaged_file_is_an_error_that_names_it(content):
    if content.startswith(bands.TIFF_STARTS):
        pytest.importorskip('tifffile')
    with pytest.raises(ImageError, match=r'fields/a\.xyz'):
        decode_bands(content, 'fields/a.xyz')


@pytest.mark.parametrize('array', [np.zeros(4), np.zeros((0, 2, 3)), np.array([['a']])])
def test_an_array_that_is_no_image_says_what_is_expected(array):
    file = io.BytesIO()
    np.save(file, array)
    with pytest.raises(ImageError, match=r'\(H, W, bands\)'):
        decode_bands(file.getvalue(), 'a.npy')


def test_an_array_of_python_objects_is_not_executed():
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match=r'a\.npy'):
        decode_bands(file.getvalue(), 'a.npy')


def test_a_tiff_without_tifffile_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    with pytest.raises(MissingPackageError, match=r'casvit-mm\[bands\]'):
        decode_bands(b'II*\0', 'a.tif')


def test_colours_of_a_file_stay_and_other_bands_are_stretched():
    four = pixels(4)
    np.testing.assert_array_equal(as_colours(four), four[..., :3])
    wide = as_colours(pixels(8, 'float32') * 1000)
    assert wide.dtype == np.uint8 and wide.shape == (HEIGHT, WIDTH, 3)
    assert wide.min() == 0 and wide.max() == 255
    grey = as_colours(pixels(1, 'uint16')[..., 0])
    assert (grey[..., 0] == grey[..., 2]).all() and grey.max() == 255
    assert as_colours(np.full((4, 4, 5), np.nan)).max() == 0


def test_a_pipeline_loads_chosen_bands_and_normalises_each(tmp_path):
    stored = pixels(8, 'uint16')
    file = write(tmp_path / 'a.npy', stored)
    loaded = TRANSFORMS.build(dict(type='LoadBands', bands=[3, 0]))(dict(img_path=str(file)))
    assert loaded['img'].dtype == np.float32
    assert loaded['img_shape'] == loaded['ori_shape'] == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(loaded['img'], stored[..., [3, 0]])
    step = TRANSFORMS.build(dict(type='NormalizeBands', mean=[10, 20], std=[2, 4]))
    expected = (stored[..., [3, 0]] - [10, 20]) / [2, 4]
    np.testing.assert_allclose(step(loaded)['img'], expected, rtol=1e-5)


def test_eight_bits_stay_and_other_types_become_floats(tmp_path):
    for kind, loaded in (('uint8', 'uint8'), ('uint16', 'float32'), ('float64', 'float32')):
        file = write(tmp_path / 'a.npy', pixels(4, kind))
        assert LoadBands()(dict(img_path=str(file)))['img'].dtype == loaded


def test_a_single_band_keeps_its_axis_after_resizing():
    resized = cv2.resize(pixels(1, 'float32'), (7, 5))
    assert resized.ndim == 2
    assert NormalizeBands([1], [2])(dict(img=resized))['img'].shape == (5, 7, 1)


def test_a_band_that_an_image_does_not_have_is_named_with_the_image(tmp_path):
    file = write(tmp_path / 'a.npy', pixels(2))
    with pytest.raises(DatasetError, match=r'a\.npy has 2'):
        LoadBands(bands=[2])(dict(img_path=str(file)))
    with pytest.raises(DatasetError, match=r'a\.npy has 2 bands.* with 3'):
        NormalizeBands([0] * 3, [1] * 3)(dict(img=pixels(2), img_path='a.npy'))


@pytest.mark.parametrize(('mean', 'std'), [([1, 2], [1]), ([1], [0]), ([1], [-1])])
def test_a_normalisation_that_cannot_be_is_refused(mean, std):
    with pytest.raises(ValueError, match='std'):
        NormalizeBands(mean, std)
