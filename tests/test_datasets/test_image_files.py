"""The size of images of every type is the one that a run loads."""

import struct
import zlib

import mmcv
import pytest
from images import KINDS, TURNED, write_image
from PIL import Image

from casvit_mm.datasets.audit.images import inspect_image
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
