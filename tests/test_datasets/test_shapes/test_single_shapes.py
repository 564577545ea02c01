"""The generated dataset with one shape per image."""

import hashlib
import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casvit.cli.main import run_tool
from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.datasets.shapes import single as single_shapes
from casvit_mm.datasets.shapes.outlines import OUTLINES
from casvit_mm.datasets.shapes.scenes import paint_one

few = partial(single_shapes.generate, num_train=12, num_val=7, progress=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A few images."""
    few(tmp_path / 'set')
    return tmp_path / 'set'


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def test_each_split_has_one_folder_per_class(small: Path) -> None:
    for split, count in (('train', 12), ('val', 7)):
        folders = sorted(folder.name for folder in (small / split).iterdir())
        assert tuple(folders) == single_shapes.CLASSES
        images = list((small / split).rglob('*.png'))
        assert len(images) == count
        assert cv2.imread(str(images[0])).shape == (64, 64, 3)
    record = json.loads((small / 'dataset.json').read_text())
    assert record['pictures'] == {'train': 12, 'val': 7}
    assert record['classes'] == list(single_shapes.CLASSES)


def test_there_are_at_least_five_classes_all_equally_frequent(small: Path) -> None:
    assert set(single_shapes.CLASSES) == set(OUTLINES)
    assert len(single_shapes.CLASSES) >= 5
    for folder in (small / 'train').iterdir():
        assert len(list(folder.iterdir())) == 2


def test_the_same_options_give_the_same_images_and_a_larger_number_only_adds_some(
    small: Path, tmp_path: Path
) -> None:
    few(tmp_path / 'again')
    assert files(tmp_path / 'again') == files(small)
    few(tmp_path / 'more', num_train=20)
    more = files(tmp_path / 'more')
    same = [key for key, value in files(small).items() if more.get(key) == value]
    assert len(same) == 12 + 7, 'all images; the record has another number'
    few(tmp_path / 'other', seed=1)
    other = files(tmp_path / 'other')
    assert not [key for key, value in files(small).items() if other[key] == value]


def test_train_and_val_share_no_images(small: Path) -> None:
    digests = [hashlib.sha256(data).digest() for data in files(small).values()]
    assert len(set(digests)) == len(digests)


@given(seed=st.integers(0, 2**32), size=st.integers(64, 128), label=st.integers(0, 5))
@settings(max_examples=30)
def test_the_shape_stands_out_from_the_background(seed: int, size: int, label: int) -> None:
    image = paint_one(np.random.default_rng(seed), size, label)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert np.ptp(image.astype(int).sum(axis=2)) > 20


def test_a_root_of_the_other_dataset_is_not_overwritten(tmp_path: Path) -> None:
    root = tmp_path / 'shapes'
    shapes.generate(root, num_train=1, num_val=1, progress=False)
    before = files(root)
    assert not single_shapes.is_generated(root)
    with pytest.raises(DatasetError, match='does not hold a generated dataset of this kind'):
        few(root)
    assert files(root) == before


def test_parameters_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'size .* at least 64, not 32'):
        few(tmp_path / 'set', size=32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, into which a small dataset is generated."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    monkeypatch.setattr(single_shapes, 'generate', few)
    return single_shapes.default_root()


def test_the_default_root_is_generated_on_first_use_next_to_the_other_dataset(
    cache: Path, tmp_path: Path
) -> None:
    assert cache == tmp_path / 'cache' / 'casvit_mm' / 'single-shapes-v1'
    assert cache.parent == shapes.default_root().parent
    single_shapes.prepare(cache)
    assert single_shapes.is_generated(cache)


def test_another_missing_root_is_named_with_the_command_that_generates_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'generate_shapes\.py --task classification --out'):
        single_shapes.prepare(tmp_path / 'nowhere')


def test_the_tool_applies_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'set'
    options = ['--num-train', '6', '--num-val', '6', '--size', '96', '--seed', '4']
    arguments = ['--task', 'classification', '--out', str(out), *options]
    assert run_tool('generate_shapes', arguments) == 0
    output = capsys.readouterr().out
    assert str(out) in output and 'classes: circle, cross, ring' in output
    assert cv2.imread(str(out / 'val' / 'circle' / '000000.png')).shape == (96, 96, 3)
    assert json.loads((out / 'dataset.json').read_text())['seed'] == 4


def test_the_tool_writes_into_the_cache_by_default(cache: Path) -> None:
    options = ['--task', 'classification', '--num-train', '2', '--num-val', '1']
    assert run_tool('generate_shapes', options) == 0
    assert single_shapes.is_generated(cache)
    assert not shapes.is_generated(shapes.default_root())


def test_mmpretrain_reads_it_and_generates_it_if_it_is_missing(cache: Path) -> None:
    pytest.importorskip('mmpretrain')
    from casvit_mm.datasets import SingleShapesDataset

    train = SingleShapesDataset(data_prefix='train')
    assert len(train) == 12
    assert train.metainfo['classes'] == single_shapes.CLASSES
    for index in range(len(train)):
        info = train.get_data_info(index)
        assert Path(info['img_path']).parent.name == single_shapes.CLASSES[info['gt_label']]
