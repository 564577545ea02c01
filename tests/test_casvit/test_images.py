"""Images of every supported type become the same pixels, in whatever form they are passed."""

import warnings

import numpy as np
import pytest
from images import KINDS, TURNED, write_image
from PIL import Image, ImageOps

from casvit.inputs.images import ImageError, load_image, read_image
from casvit.inputs.images import write_image as write


def as_a_person_opens_it(path):
    """The array that Pillow itself gives."""
    # As a file object: Pillow misreads some rotated TIFF files that are given by name.
    with path.open('rb') as file, Image.open(file) as image:
        turned = ImageOps.exif_transpose(image)
        # Palette and CMYK images would be taken for other arrays.
        if turned.mode in ('P', 'CMYK'):
            turned = turned.convert('RGB')
        return np.array(turned)


@pytest.mark.parametrize(('suffix', 'mode'), KINDS)
def test_path_pil_image_and_array_give_the_same_pixels(suffix, mode, tmp_path):
    for orientation in (None, *range(1, 9)) if suffix in TURNED else (None,):
        path = write_image(tmp_path / f'a{suffix}', mode, orientation=orientation)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            pixels = read_image(path)
            with path.open('rb') as file, Image.open(file) as image:
                from_pil = load_image(image)
        assert pixels.shape == ((40, 30, 3) if (orientation or 1) >= 5 else (30, 40, 3))
        assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
        assert (pixels == from_pil).all()
        array = as_a_person_opens_it(path)
        assert (pixels == load_image(array)).all()
        if array.ndim == 3 and array.shape[2] in (3, 4):
            order = [2, 1, 0, 3][: array.shape[2]]
            assert (pixels == load_image(array[..., order], bgr=True)).all()


@pytest.mark.parametrize(('suffix', 'mode'), KINDS)
def test_pixels_are_the_same_as_in_a_training_run(suffix, mode, tmp_path):
    cv2 = pytest.importorskip('cv2')
    path = write_image(tmp_path / f'a{suffix}', mode)
    trained_on = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    difference = abs(read_image(path).astype(int) - trained_on[..., ::-1]).max()
    # Each library has its own formula for CMYK colours.
    assert difference <= (1 if mode == 'CMYK' else 0)


def test_images_are_decoded_as_in_a_training_run(photographs):
    cv2 = pytest.importorskip('cv2')
    files = sorted((photographs / 'coco_mini/val2017').iterdir())
    assert len(files) > 20
    for file in files:
        assert (read_image(file) == cv2.imread(str(file))[..., ::-1]).all(), file


def test_sixteen_bit_channels_are_reduced_to_their_upper_eight_bits(tmp_path):
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    expected = np.repeat((values >> 8).astype(np.uint8)[..., None], 3, 2)
    for name in ('a.png', 'a.tif'):
        Image.fromarray(values).save(tmp_path / name)
        assert (read_image(tmp_path / name) == expected).all()
    for array in (values, values.astype('>u2'), values[..., None], np.dstack([values] * 3)):
        assert (load_image(array) == expected).all()


def test_an_rgb_array_is_not_copied():
    array = np.zeros((4, 5, 3), np.uint8)
    assert load_image(array) is array


def test_the_content_of_a_file_decides_not_its_suffix(tmp_path):
    path = write_image(tmp_path / 'a.png')
    expected = read_image(path)
    for name in ('a.jpg', 'a', 'a.txt'):
        assert (read_image(path.rename(tmp_path / name)) == expected).all()
        path = tmp_path / name
    write_image(tmp_path / 'b.gif', 'P').rename(tmp_path / 'b.jpg')
    assert read_image(str(tmp_path / 'b.jpg')).shape == (30, 40, 3)


@pytest.mark.parametrize(
    ('array', 'words'),
    [
        (np.zeros((4, 5, 3)), ['(4, 5, 3)', 'float64', 'uint8', '255']),
        (np.zeros((4, 5), np.float32), ['(4, 5)', 'float32', 'uint8']),
        (np.zeros((4, 5, 3), np.int32), ['int32']),
        (np.zeros((2, 4, 5, 3), np.uint8), ['(2, 4, 5, 3)', 'list']),
        (np.zeros((3, 40, 50), np.uint8), ['(3, 40, 50)', 'transpose(1, 2, 0)']),
        (np.zeros((4, 5, 6), np.uint8), ['(4, 5, 6)', '(H, W, 3)']),
        (np.zeros((0, 5, 3), np.uint8), ['(0, 5, 3)']),
        (np.zeros(7, np.uint8), ['(7,)']),
        (np.zeros((), np.uint8), ['()']),
        (np.array([['a']]), ['U1', 'uint8']),
        (b'jpeg', ['bytes', 'a path, a PIL image or a NumPy array']),
        (None, ['NoneType']),
        (3, ['int']),
    ],
    ids=str,
)
def test_other_objects_than_images_are_refused_with_advice(array, words):
    with pytest.raises(ImageError) as refused:
        load_image(array)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize('mode', ['F', 'I'])
def test_images_of_unknown_range_are_refused(mode, tmp_path):
    image = Image.new(mode, (4, 5), 7)
    with pytest.raises(ImageError, match=f'mode {mode}.*uint8'):
        load_image(image)
    image.save(tmp_path / 'a.tif')
    with pytest.raises(ImageError, match=r'a\.tif.*uint8'):
        read_image(tmp_path / 'a.tif')


def test_a_url_is_not_opened():
    with pytest.raises(ImageError, match=r'https://example\.org/a\.jpg is a URL: download'):
        load_image('https://example.org/a.jpg')


def test_an_image_with_damaged_exif_data_is_still_read(tmp_path):
    Image.new('RGB', (40, 30), 'red').save(tmp_path / 'a.jpg', exif=b'Exif\x00\x00MM\x00*garbage')
    assert read_image(tmp_path / 'a.jpg').shape == (30, 40, 3)


def test_large_images_are_read_without_changing_pillows_limit_for_others(tmp_path, monkeypatch):
    size = (6000, 100)
    write_image(tmp_path / 'a.png', size=size)
    expected = np.asarray(Image.open(tmp_path / 'a.png'))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    # Converted in several strips.
    monkeypatch.setattr('casvit.inputs.images.STRIP', 6000 * 7)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for mode in ('RGB', 'L', 'P'):
            with monkeypatch.context() as patched:
                patched.setattr(Image, 'MAX_IMAGE_PIXELS', None)
                Image.fromarray(expected).convert(mode).save(tmp_path / 'b.png')
                plain = np.asarray(Image.open(tmp_path / 'b.png').convert('RGB'))
            assert (read_image(tmp_path / 'b.png') == plain).all()
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr('casvit.inputs.images.LARGEST', 599_999)
    with pytest.raises(ImageError, match='6,000 x 100 pixels'):
        read_image(tmp_path / 'a.png')
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_an_image_that_does_not_fit_into_memory_is_named(tmp_path, monkeypatch):
    path = write_image(tmp_path / 'a.png')

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, 'load', no_memory)
    monkeypatch.setattr('PIL.ImageFile.ImageFile.load', no_memory)
    with pytest.raises(ImageError, match=r'a\.png cannot be read: it does not fit into memory'):
        read_image(path)


def test_an_image_too_long_for_a_type_is_answered_with_another_type(tmp_path):
    with pytest.raises(ImageError, match=r'65,500 pixels a side\. Write a \.png'):
        write(np.zeros((1, 65_501, 3), np.uint8), tmp_path / 'a.jpg')
    write(np.zeros((1, 65_501, 3), np.uint8), tmp_path / 'a.png')
    assert read_image(tmp_path / 'a.png').shape == (1, 65_501, 3)


def test_a_pil_image_without_pixels_or_of_an_unsupported_mode_is_refused():
    with pytest.raises(ImageError, match='The PIL image has no pixels'):
        load_image(Image.new('RGB', (0, 5)))
    with pytest.raises(ImageError, match='colour mode La, which is not supported: save it as RGB'):
        load_image(Image.new('La', (4, 4)))
