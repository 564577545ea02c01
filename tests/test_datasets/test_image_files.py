"""An image is readable, and has the size, that a run sees when it loads it."""

import os
import struct
import subprocess
import sys
import threading
import zlib
from io import BytesIO

import cv2
import mmcv
import numpy as np
import pytest
from images import KINDS, TURNED, write_image
from PIL import Image
from terminals import Terminal

from casvit_mm.datasets.audit.images import inspect_image, inspect_images
from casvit_mm.datasets.decoding import quiet_decoders
from casvit_mm.datasets.image_files import read_image_size
from casvit_mm.datasets.semantic_masks import upright_size


def loaded_size(path) -> tuple[int, int]:
    """Width and height as a run loads it."""
    height, width = mmcv.imfrombytes(path.read_bytes()).shape[:2]
    return width, height


@pytest.mark.parametrize(('suffix', 'mode'), KINDS)
@pytest.mark.parametrize('orientation', [None, 1, 3, 6])
def test_the_size_is_the_one_that_a_run_loads(tmp_path, suffix, mode, orientation):
    path = write_image(tmp_path / f'a{suffix}', mode, orientation=orientation)
    assert upright_size(path) == loaded_size(path)
    image = inspect_image(path)
    assert not image.issue and image.upright == loaded_size(path)
    assert image.stored == (40, 30)


@pytest.mark.parametrize('suffix', TURNED)
@pytest.mark.parametrize('orientation', range(1, 9))
def test_an_orientation_counts_only_if_a_run_applies_it(tmp_path, suffix, orientation):
    plain = mmcv.imfrombytes(write_image(tmp_path / f'a{suffix}').read_bytes())
    path = write_image(tmp_path / f'b{suffix}', orientation=orientation)
    turned = mmcv.imfrombytes(path.read_bytes())
    differs = turned.shape != plain.shape or (turned != plain).any()
    assert inspect_image(path).orientation == (orientation if differs else 1)


def test_an_orientation_after_the_pixels_of_a_png_counts(tmp_path):
    path = write_image(tmp_path / 'a.png', orientation=6)
    content = path.read_bytes()
    start = content.index(b'eXIf') - 4
    block = content[start : start + 12 + struct.unpack('>I', content[start : start + 4])[0]]
    end = content.index(b'IEND') - 4
    moved = content[:start] + content[start + len(block) : end] + block + content[end:]
    path.write_bytes(moved)
    assert upright_size(path) == inspect_image(path).upright == loaded_size(path)


def test_an_orientation_in_xmp_is_ignored_as_in_a_run(tmp_path):
    path = write_image(tmp_path / 'a.png')
    content = path.read_bytes()
    text = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
    chunk = b'iTXt' + text
    block = struct.pack('>I', len(text)) + chunk + struct.pack('>I', zlib.crc32(chunk))
    path.write_bytes(content[:33] + block + content[33:])
    assert Image.open(path).getexif().get(0x0112) == 6, 'Pillow treats it as EXIF'
    assert upright_size(path) == inspect_image(path).upright == loaded_size(path) == (40, 30)


@pytest.mark.filterwarnings('ignore::UserWarning:PIL')
@pytest.mark.parametrize('suffix', TURNED)
def test_a_damaged_exif_block_does_not_matter(tmp_path, suffix):
    path = write_image(tmp_path / f'a{suffix}', orientation=1)
    content = path.read_bytes()
    place = content.find(b'II*\0' if b'II*\0' in content else b'MM\0*', 1)
    if place > 0:
        content = content[: place + 4] + b'\xff\xff\xff\xff' + content[place + 8 :]
        if suffix == '.png':
            start = content.index(b'eXIf')
            end = start + 4 + struct.unpack('>I', content[start - 4 : start])[0]
            checksum = struct.pack('>I', zlib.crc32(content[start:end]))
            content = content[:end] + checksum + content[end + 4 :]
        path.write_bytes(content)
    assert read_image_size(path).upright == (40, 30)


@pytest.mark.filterwarnings('ignore::UserWarning:PIL')
@pytest.mark.parametrize(('suffix', 'mode'), KINDS)
def test_a_truncated_or_overwritten_file_is_reported_without_an_exception(tmp_path, suffix, mode):
    path = write_image(tmp_path / f'a{suffix}', mode, size=(64, 64))
    content = path.read_bytes()
    for length in (0, 1, 8, 30, len(content) // 2, len(content) - 60):
        path.write_bytes(content[:length])
        assert inspect_image(path).issue in ('unreadable-picture', 'truncated-picture'), length
    for place in range(8, min(len(content), 400), 7):
        path.write_bytes(content[:place] + b'\xff\x00\xff\x7f' + content[place + 4 :])
        inspect_image(path)


def noise(size=(48, 36)):
    """Smooth noise, with the full range of brightness. Shape: ``(H, W, 3)``, uint8."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    pixels = np.array(Image.fromarray(coarse).resize(size))
    pixels[0, :2] = [[0, 0, 0], [255, 255, 255]]
    return pixels


def by_pillow(kind, mode='RGB', **options):
    file = BytesIO()
    Image.fromarray(noise()).convert(mode).save(file, kind, **options)
    return file.getvalue()


def by_opencv(suffix, pixels):
    return cv2.imencode(suffix, pixels)[1].tobytes()


SECOND = [Image.fromarray(noise()[::-1])]
WIDE = noise().astype(np.uint16) * 257
FILES = {
    'gif': by_pillow('GIF'),
    'animated gif': by_pillow('GIF', save_all=True, append_images=SECOND),
    'animated webp': by_pillow('WEBP', save_all=True, append_images=SECOND),
    'animated png': by_pillow('PNG', save_all=True, append_images=SECOND),
    'tiff of two pages': by_pillow('TIFF', save_all=True, append_images=SECOND),
    'avif': by_pillow('AVIF'),
    'jpeg 2000': by_pillow('JPEG2000'),
    'progressive jpeg': by_pillow('JPEG', progressive=True),
    'icon': by_pillow('ICO'),
    'targa': by_pillow('TGA'),
    'postscript': by_pillow('EPS'),
    'pdf': by_pillow('PDF'),
    'portable map': by_pillow('PPM'),
    'jpeg in tiff': by_pillow('TIFF', compression='jpeg'),
    'fax tiff': by_pillow('TIFF', '1', compression='group4'),
    'lab tiff': by_pillow('TIFF', 'LAB'),
    'integer tiff': by_pillow('TIFF', 'I'),
    'float tiff': by_pillow('TIFF', 'F'),
    'float rgb tiff': by_opencv('.tif', noise().astype(np.float32)),
    'double tiff': by_opencv('.tif', noise()[..., 0].astype(np.float64)),
    'rgb16 tiff': by_opencv('.tif', WIDE),
    'rgb16 png': by_opencv('.png', WIDE),
    'rgba16 png': by_opencv('.png', np.dstack([WIDE, WIDE[..., :1]])),
    'sun raster': by_opencv('.ras', noise()),
    'radiance': by_opencv('.hdr', noise().astype(np.float32)),
    'heic': b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(200),
    'text': b'This is no image.' * 20,
    'empty': b'',
}


def decoded(content):
    """What a run loads: an array, or None. ``LoadImageFromFile`` stops at None."""
    try:
        return mmcv.imfrombytes(content)
    except cv2.error:
        return None


def truths(content):
    pixels = decoded(content)
    return pixels is not None, (0, 0) if pixels is None else pixels.shape[1::-1]


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_file_is_readable_if_a_run_can_decode_it_whatever_its_suffix(tmp_path, name, suffix):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(FILES[name])
    (image,) = inspect_images([path], progress=False)
    assert (image.issue == '', image.upright) == truths(FILES[name])
    assert image.issue in ('', 'unreadable-picture') and bool(image.reason) == bool(image.issue)


def test_the_files_of_these_tests_are_of_both_kinds():
    readable = {truths(content)[0] for content in FILES.values()}
    assert readable == {True, False}


@pytest.mark.parametrize(
    ('name', 'reason'),
    [('gif', 'type GIF'), ('avif', 'type AVIF'), ('float tiff', 'mode F'), ('heic', 'HEIC')],
)
def test_the_reason_names_the_type_that_opencv_cannot_decode(tmp_path, name, reason):
    if truths(FILES[name])[0]:
        pytest.skip('This OpenCV decodes it.')
    path = tmp_path / 'a.jpg'
    path.write_bytes(FILES[name])
    assert reason in inspect_image(path).reason and 'PNG' in inspect_image(path).reason


@pytest.mark.parametrize(
    'name',
    ['progressive jpeg', 'rgb16 png', 'rgb16 tiff', 'animated webp', 'jpeg 2000', 'fax tiff'],
)
def test_a_cut_or_overwritten_file_is_judged_as_a_run_does(tmp_path, name):
    content, path = FILES[name], tmp_path / 'a.png'
    damaged = [content[: int(len(content) * share)] for share in (0.3, 0.6, 0.9, 0.99)]
    for place in range(len(content) // 4, len(content) - 30, len(content) // 7):
        damaged.append(content[:place] + bytes(20) + content[place + 20 :])
    for number, part in enumerate(damaged):
        path.write_bytes(part)
        (image,) = inspect_images([path], progress=False)
        if name.endswith('png') and number >= 4:
            # OpenCV 4.11 crashes the process at some of these.
            assert image.issue == 'unreadable-picture' and 'checksum' in image.reason
            continue
        readable, size = truths(part)
        assert (image.issue != 'unreadable-picture', image.upright) == (readable, size)
        if number < 4:
            assert image.issue in ('unreadable-picture', 'truncated-picture')


def test_an_image_of_which_opencv_fills_a_missing_part_is_truncated(tmp_path, monkeypatch):
    """As ``imread`` and some builds of OpenCV do with JPEG files."""
    content = by_pillow('JPEG')
    path = tmp_path / 'a.jpg'
    path.write_bytes(content[: len(content) * 2 // 3])
    whole = decoded(content)
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: whole)
    image = inspect_image(path)
    assert image.issue == 'truncated-picture' and 'truncated' in image.reason
    assert image.upright == (48, 36)
    path.write_bytes(content + b'more of a camera' * 9)
    assert not inspect_image(path).issue


TWELVE_BITS = (noise().astype(np.uint16) << 4) | 15
PEAKS = {
    '12 of 16 bits, png': (by_opencv('.png', TWELVE_BITS[..., 0]), 1 / 16),
    '12 of 16 bits, rgb png': (by_opencv('.png', TWELVE_BITS), 1 / 16),
    '12 of 16 bits, tiff': (by_opencv('.tif', TWELVE_BITS[..., 0]), 1 / 16),
    '12 of 16 bits, rgb tiff': (by_opencv('.tif', TWELVE_BITS), 1 / 16),
    '12 of 16 bits, opaque': (
        by_opencv('.png', np.dstack([TWELVE_BITS, np.full((36, 48), 65535, np.uint16)])),
        1 / 16,
    ),
    '12 of 16 bits, jpeg 2000': (by_opencv('.jp2', TWELVE_BITS[..., 0]), 1 / 16),
    '16 bits, png': (by_opencv('.png', WIDE), 1),
    '16 bits, tiff': (by_opencv('.tif', WIDE[..., 0]), 1),
    'floats to 1': (by_opencv('.tif', noise().astype(np.float32) / 255), 1),
    '8 bits, png': (by_pillow('PNG'), None),
    '8 bits, tiff': (by_pillow('TIFF'), None),
    '8 bits, jpeg': (by_pillow('JPEG'), None),
    '1 bit, png': (by_pillow('PNG', '1'), None),
}


@pytest.mark.parametrize('name', PEAKS)
def test_the_peak_of_an_image_with_more_than_8_bits_is_a_share_of_its_range(tmp_path, name):
    content, peak = PEAKS[name]
    path = tmp_path / 'a.png'
    path.write_bytes(content)
    found = inspect_image(path).peak
    assert found == (None if peak is None else pytest.approx(peak, rel=0.05))
    if peak is not None:
        # A run loads about this share of the 8 bits that it keeps.
        assert decoded(content).max() / 255 == pytest.approx(peak, abs=1 / 255)


def test_a_pipe_a_device_or_a_folder_is_named_and_never_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'device.jpg').symlink_to('/dev/zero')
    (tmp_path / 'folder.jpg').mkdir()
    for name in ('pipe', 'device', 'folder'):
        image = inspect_image(tmp_path / f'{name}.jpg')
        assert image.issue == 'unreadable-picture'
        assert ('folder' if name == 'folder' else 'pipe or device') in image.reason


@pytest.mark.parametrize('chunk', [b'IHDR', b'IDAT'])
def test_a_damaged_length_in_a_png_costs_no_memory(tmp_path, monkeypatch, chunk):
    content = by_pillow('PNG')
    place = content.index(chunk) - 4
    path = tmp_path / 'a.png'
    path.write_bytes(content[:place] + b'\xff\x00\xff\x7f' + content[place + 4 :])
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('OpenCV would reserve 4 GB'))
    assert inspect_image(path).issue == 'unreadable-picture'


def test_an_animation_that_is_cut_after_its_first_frame_is_readable(tmp_path):
    content, path = FILES['animated png'], tmp_path / 'a.png'
    for length in (content.rindex(b'fcTL') + 8, content.rindex(b'fdAT') + 30):
        path.write_bytes(content[:length])
        assert truths(content[:length])[0] == (not inspect_image(path).issue)


def test_an_image_of_a_billion_pixels_is_not_decoded(tmp_path, monkeypatch):
    header = struct.pack('>IIBBBBB', 30000, 30000, 1, 0, 0, 0, 0)
    content = b'\x89PNG\r\n\x1a\n'
    for chunk in (b'IHDR' + header, b'IDAT' + zlib.compress(bytes(99)), b'IEND'):
        content += struct.pack('>I', len(chunk) - 4) + chunk + struct.pack('>I', zlib.crc32(chunk))
    (tmp_path / 'a.png').write_bytes(content)
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    image = inspect_image(tmp_path / 'a.png')
    assert image.issue == 'unreadable-picture' and 'too large' in image.reason


def test_what_decoders_print_about_damaged_images_is_not_shown(tmp_path, capfd):
    jpeg, tiff = by_pillow('JPEG'), by_pillow('TIFF', compression='tiff_lzw')
    middle = len(jpeg) // 2
    contents = [
        jpeg[:middle],
        jpeg[:middle] + bytes(20) + jpeg[middle + 20 :],
        tiff[: len(tiff) // 2] + bytes(20) + tiff[len(tiff) // 2 + 20 :],
        FILES['rgb16 png'][: len(FILES['rgb16 png']) // 2],
    ]
    paths = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
        decoded(content)
    assert capfd.readouterr().err, 'OpenCV prints about them'
    assert any(image.issue for image in inspect_images(paths, progress=False))
    assert capfd.readouterr().err == ''
    os.write(2, b'shown again')
    assert capfd.readouterr().err == 'shown again'


def test_the_progress_bar_and_python_still_write_to_stderr_meanwhile(tmp_path):
    """In a process of its own, since pytest replaces ``sys.stderr``, which is a terminal."""
    program = """
import os, sys
from casvit_mm.datasets.audit.images import inspect_images
before = sys.stderr
for image in inspect_images([sys.argv[1]] * 3):
    print('from Python', file=sys.stderr)
    os.write(2, b'from C')
assert sys.stderr is before
os.write(2, b'after')
"""
    path = write_image(tmp_path / 'a.png')
    terminal = Terminal()
    subprocess.run([sys.executable, '-c', program, path], stderr=terminal.stream, check=True)
    said = terminal.text()
    assert 'reading images: 100%' in said and said.count('from Python') == 3
    assert 'from C' not in said and said.endswith('after')


def test_the_last_of_several_contexts_ends_the_silence(capfd):
    first, second = quiet_decoders(), quiet_decoders()
    first.__enter__()
    other = threading.Thread(target=second.__enter__)
    other.start()
    other.join()
    first.__exit__(None, None, None)
    os.write(2, b'hidden')
    second.__exit__(None, None, None)
    os.write(2, b'shown')
    assert capfd.readouterr().err == 'shown'
