"""Files of semantic masks are decoded as a run decodes them, in bounded memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from semantic_data import labels_of, write_mask, write_pairs

from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity
from casvit_mm.datasets.mask_files import (
    ColourMaskError,
    UnreadableMaskError,
    mask_content,
    mask_header,
    mask_labels,
)

MODES = [
    *(('.png', mode) for mode in ('1', 'L', 'P', 'I;16')),
    *(('.tif', mode) for mode in ('1', 'L', 'P', 'I;16', 'F')),
    *(('.bmp', mode) for mode in ('1', 'L', 'P')),
]


@pytest.mark.parametrize(('suffix', 'mode'), MODES)
def test_a_mask_holds_what_mmseg_loads(tmp_path, suffix, mode):
    transforms = pytest.importorskip('mmseg.datasets.transforms')
    labels = labels_of(7, 2 if mode == '1' else 5)
    if mode == 'F':
        Image.fromarray(labels.astype(np.float32)).save(path := tmp_path / f'a{suffix}')
    else:
        path = write_mask(tmp_path / f'a{suffix}', labels, mode)
    results = dict(seg_map_path=str(path), reduce_zero_label=False, seg_fields=[])
    loaded = transforms.LoadAnnotations().transform(results)['gt_seg_map']
    assert np.array_equal(mask_labels(path), loaded)
    values, counts = np.unique(loaded, return_counts=True)
    assert mask_content(path).counts == dict(zip(values.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_one_bit_is_decoded_as_the_backend_of_the_run_does(tmp_path, backend):
    mmcv = pytest.importorskip('mmcv')
    path = write_mask(tmp_path / 'a.png', labels_of(0, 2), '1')
    loaded = mmcv.imfrombytes(path.read_bytes(), flag='unchanged', backend=backend)
    held = set(mask_content(path, None, backend).counts)
    assert held == set(np.unique(loaded).tolist()) == {0, 255 if backend == 'cv2' else 1}


def test_strips_make_no_difference(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, (333, 77), np.uint8)
    path = write_mask(tmp_path / 'a.png', labels)
    colours = rng.permutation(256)[:27].reshape(9, 3)
    legend = {tuple(map(int, colour)): index for index, colour in enumerate(colours[:-1])}
    Image.fromarray(colours.astype(np.uint8)[labels]).save(tmp_path / 'b.png')
    for strip in (1, 77, 1000, 1 << 20):
        monkeypatch.setattr('casvit_mm.datasets.mask_files.STRIP', strip)
        assert np.array_equal(mask_labels(path), labels)
        assert sum(mask_content(path).counts.values()) == labels.size
        expected = np.where(labels == 8, 255, labels)
        assert np.array_equal(mask_labels(tmp_path / 'b.png', legend), expected)
        content = mask_content(tmp_path / 'b.png', legend)
        assert content.unknown == [(tuple(map(int, colours[8])), int((labels == 8).sum()))]


def test_colours_fractions_and_too_many_values_are_no_class_indices(tmp_path):
    coloured = np.zeros((9, 9, 3), np.uint8)
    coloured[0, 0, 2] = 1
    Image.fromarray(coloured).save(tmp_path / 'a.png')
    with pytest.raises(ColourMaskError, match='colour image'):
        mask_content(tmp_path / 'a.png')
    Image.fromarray(np.full((9, 9), 0.5, np.float32)).save(tmp_path / 'b.tif')
    with pytest.raises(UnreadableMaskError, match='fractions'):
        mask_content(tmp_path / 'b.tif')
    Image.fromarray(np.arange(300 * 300, dtype=np.int32).reshape(300, 300)).save(tmp_path / 'c.tif')
    with pytest.raises(UnreadableMaskError, match='more than 65,536 values'):
        mask_content(tmp_path / 'c.tif')


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes')
def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / 'a.png')
    (tmp_path / 'b.png').symlink_to('/dev/zero')
    for name in 'ab':
        with pytest.raises(UnreadableMaskError, match='not a regular file'):
            mask_header(tmp_path / f'{name}.png')


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes')
def test_a_pipe_among_the_masks_is_no_mask(tmp_path):
    root = write_pairs(tmp_path)
    (root / 'labels/val/val_001.png').unlink()
    os.mkfifo(root / 'labels/val/val_001.png')
    (issue,) = audit_masks(read_dataset(root, 'semantic'), progress=False).issues.of(Severity.ERROR)
    assert issue.kind == 'missing-label-map' and issue.file.endswith('val_001.jpg')


def test_a_decompression_bomb_is_said(tmp_path, monkeypatch):
    path = write_mask(tmp_path / 'a.png', np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(UnreadableMaskError, match='too large for a run to read'):
        mask_content(path)


BIG = """
import resource, sys, warnings
warnings.simplefilter('ignore')
from casvit_mm.datasets.mask_files import mask_content
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = used()
counts = mask_content(sys.argv[1], noise=True).counts
print(sum(counts.values()), len(counts), used() - before)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='memory is given in other units')
@pytest.mark.parametrize('mode', ['1', 'L', 'P'])
def test_a_mask_of_100_megapixels_takes_little_more_than_a_byte_per_pixel(tmp_path, mode):
    side = 10000
    image = Image.new(mode, (side, side))
    image.paste(1, (10, 20, 3000, 4000))
    image.save(tmp_path / 'a.png', compress_level=1)
    command = [sys.executable, '-c', BIG, str(tmp_path / 'a.png')]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    pixels, values, kilobytes = map(int, done.stdout.split())
    assert (pixels, values) == (side**2, 2)
    assert kilobytes * 1024 < 1.6 * side**2
