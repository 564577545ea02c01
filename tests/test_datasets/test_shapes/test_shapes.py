import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from casvit.cli.main import run_tool
from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.shapes import objects as shapes

small = partial(shapes.generate, num_train=6, num_val=3, progress=False)


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def coco(root: Path, split: str) -> COCO:
    return COCO(str(root / 'annotations' / f'instances_{split}.json'))


@pytest.fixture(params=shapes.SPLITS)
def split_of_default_set(request: pytest.FixtureRequest, default_set: Path) -> tuple[Path, str]:
    return default_set, request.param


def test_the_default_dataset_has_400_training_and_100_validation_images(
    default_set: Path,
) -> None:
    for split, count in (('train', 400), ('val', 100)):
        assert len(list((default_set / split).iterdir())) == count
        assert len(list((default_set / 'labels' / split).iterdir())) == count
        assert len(coco(default_set, split).imgs) == count
    record = json.loads((default_set / 'dataset.json').read_text())
    assert record['version'] == shapes.VERSION
    assert record['seed'] == 0
    assert record['pictures'] == {'train': 400, 'val': 100}


def test_a_third_of_the_objects_are_small_and_none_is_tiny(
    split_of_default_set: tuple[Path, str],
) -> None:
    longer = np.array([max(a['bbox'][2:]) for a in coco(*split_of_default_set).anns.values()])
    assert (longer < 160 / 5).mean() >= 1 / 3
    assert longer.min() >= 10
    assert longer.max() > 160 / 3


def test_a_quarter_of_the_objects_overlap_another(split_of_default_set: tuple[Path, str]) -> None:
    """Two objects overlap if their boxes intersect and their visible pixels touch."""
    data = coco(*split_of_default_set)
    overlapping = 0
    for image in data.imgs:
        annotations = data.imgToAnns[image]
        masks = [data.annToMask(annotation) for annotation in annotations]
        grown = [cv2.dilate(mask, np.ones((3, 3), np.uint8)) for mask in masks]
        boxes = [annotation['bbox'] for annotation in annotations]
        for i in range(len(masks)):
            overlapping += any(
                i != j and boxes_cross(boxes[i], boxes[j]) and (grown[i] & masks[j]).any()
                for j in range(len(masks))
            )
    assert overlapping / len(data.anns) >= 1 / 4
    covered = [a for a in data.anns.values() if a['visible'] < 1]
    assert len(covered) / len(data.anns) >= 1 / 8


def boxes_cross(first: list[float], second: list[float]) -> bool:
    return all(
        first[axis] < second[axis] + second[axis + 2]
        and second[axis] < first[axis] + first[axis + 2]
        for axis in (0, 1)
    )


def test_classes_occur_about_equally_often_in_both_splits(
    split_of_default_set: tuple[Path, str],
) -> None:
    data = coco(*split_of_default_set)
    assert len(shapes.CLASSES) == len(shapes.PALETTE) == 6
    assert [c['name'] for c in data.cats.values()] == list(shapes.CLASSES)
    counts = np.bincount([a['category_id'] for a in data.anns.values()], minlength=7)[1:]
    assert counts.min() > 0.6 * counts.mean()


def test_some_images_are_background_images(split_of_default_set: tuple[Path, str]) -> None:
    data = coco(*split_of_default_set)
    empty = sum(not data.imgToAnns[image] for image in data.imgs)
    assert 0.02 <= empty / len(data.imgs) <= 0.08
    assert max(len(data.imgToAnns[image]) for image in data.imgs) == 6


def test_masks_boxes_and_areas_agree_with_the_semantic_masks(
    split_of_default_set: tuple[Path, str],
) -> None:
    root, split = split_of_default_set
    data = coco(root, split)
    for record in data.imgs.values():
        name = Path(record['file_name']).stem
        image = cv2.imread(str(root / split / record['file_name']))
        labels = cv2.imread(str(root / 'labels' / split / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        assert image.shape == (record['height'], record['width'], 3)
        assert labels.dtype == np.uint8
        drawn = np.zeros_like(labels)
        for annotation in data.imgToAnns[record['id']]:
            mask = data.annToMask(annotation).astype(bool)
            assert not drawn[mask].any()
            drawn[mask] = annotation['category_id']
            rows, columns = np.nonzero(mask)
            x, y, width, height = annotation['bbox']
            assert (x, y) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert annotation['area'] == mask.sum()
            assert annotation['iscrowd'] == 0
        assert np.array_equal(labels, drawn)


def test_train_and_val_share_no_images(default_set: Path) -> None:
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for split in shapes.SPLITS
        for path in (default_set / split).iterdir()
    ]
    assert len(set(digests)) == len(digests)


def test_the_same_seed_gives_the_same_bytes_in_another_process(
    tmp_path: Path, run_without_mmdet: Callable[..., None]
) -> None:
    small(tmp_path / 'here', seed=7)
    code = """
        from pathlib import Path
        from casvit_mm.datasets.shapes import objects as shapes
        shapes.generate(Path(sys.argv[1]), num_train=6, num_val=3, seed=7, progress=False)
    """
    run_without_mmdet(code, tmp_path / 'there')
    assert files(tmp_path / 'here') == files(tmp_path / 'there')


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    small(tmp_path / 'a', seed=1)
    small(tmp_path / 'b', seed=2)
    first, second = files(tmp_path / 'a'), files(tmp_path / 'b')
    assert all(first[name] != second[name] for name in first if name.endswith('.jpg'))


def test_an_image_does_not_depend_on_the_number_of_images(
    tmp_path: Path, default_set: Path
) -> None:
    small(tmp_path / 'few')
    few, many = files(tmp_path / 'few'), files(default_set)
    for name in few:
        if not name.endswith('.json'):
            assert few[name] == many[name]


def test_a_generated_dataset_is_replaced(small_set: Path) -> None:
    (small_set / 'train' / '000000.jpg').unlink()
    small(small_set, seed=3)
    assert json.loads((small_set / 'dataset.json').read_text())['seed'] == 3
    assert (small_set / 'train' / '000000.jpg').is_file()
    assert list(small_set.parent.iterdir()) == [small_set]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / 'set').mkdir()
    small(tmp_path / 'set')
    assert shapes.is_generated(tmp_path / 'set')


@pytest.mark.parametrize('content', ['{}', 'no json', '[]', '{"generator": "other"}', None])
def test_a_folder_with_other_content_is_not_changed(tmp_path: Path, content: str | None) -> None:
    mine = tmp_path / ('photo.jpg' if content is None else 'dataset.json')
    mine.write_text(content or 'mine')
    with pytest.raises(DatasetError, match=r'not empty.*--out'):
        small(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_a_file_instead_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / 'set').write_text('mine')
    with pytest.raises(DatasetError, match=r'set is a file'):
        small(tmp_path / 'set')


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(DatasetError, match=r'cannot be written.*--data-root DIR'):
        small(tmp_path / 'file' / 'set')


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ({'num_train': 0}, 'training images .* at least 1, not 0'),
        ({'num_val': -1}, 'validation images .* at least 1, not -1'),
        ({'size': 32}, 'size .* at least 64, not 32'),
        ({'seed': -2}, 'seed .* at least 0, not -2'),
    ],
)
def test_parameters_out_of_range_are_refused(
    tmp_path: Path, option: dict[str, int], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        small(tmp_path / 'set', **option)
    assert not (tmp_path / 'set').exists()


def test_an_interrupted_generation_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes, '_semantic_mask', interrupt)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / 'set')
    assert not list(tmp_path.iterdir())


def test_a_dataset_survives_a_replacement_that_fails_at_the_end(
    small_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(small_set)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.suffix != '.old' and target == small_set:
            raise PermissionError(13, 'Permission denied')
        return rename(self, target)

    monkeypatch.setattr(Path, 'rename', fail)
    with pytest.raises(DatasetError, match='Permission denied'):
        small(small_set, seed=3)
    assert files(small_set) == before


def test_several_processes_may_generate_the_same_root_concurrently(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            small(tmp_path / 'set')
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert shapes.is_generated(tmp_path / 'set')
    assert list(tmp_path.iterdir()) == [tmp_path / 'set']


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, into which a small dataset is generated."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    monkeypatch.setattr(shapes, 'generate', small)
    return shapes.default_root()


def test_the_default_root_is_in_the_cache_folder(cache: Path, tmp_path: Path) -> None:
    assert cache == tmp_path / 'cache' / 'casvit_mm' / 'shapes-v1'


@pytest.mark.parametrize('platform', ['linux', 'darwin', 'win32'])
def test_every_platform_has_a_default_root(
    platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.delenv('LOCALAPPDATA', raising=False)
    monkeypatch.setattr(Path, 'home', lambda: tmp_path)
    monkeypatch.setattr(sys, 'platform', platform)
    assert tmp_path in shapes.default_root().parents
    assert shapes.default_root().parts[-2:] == ('casvit_mm', 'shapes-v1')


def test_the_default_root_is_generated_on_first_use_and_kept(cache: Path) -> None:
    shapes.prepare(cache)
    before = (cache / 'dataset.json').stat().st_mtime_ns
    shapes.prepare(f'{cache}/')
    assert (cache / 'dataset.json').stat().st_mtime_ns == before


def test_another_missing_root_is_named_with_the_command_that_generates_it(tmp_path: Path) -> None:
    root = tmp_path / 'my shapes'
    with pytest.raises(DatasetError) as caught:
        shapes.prepare(root)
    assert str(root) in str(caught.value)
    assert f"tools/generate_shapes.py --out '{root}'" in str(caught.value)


def test_a_second_process_waits_for_the_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LOCAL_RANK', '1')

    def first_process() -> None:
        time.sleep(0.3)
        small(cache)

    thread = threading.Thread(target=first_process)
    thread.start()
    shapes.prepare(cache)
    thread.join()
    assert shapes.is_generated(cache)


def test_a_second_process_does_not_wait_forever(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setattr(shapes, '_WAIT_SECONDS', 0)
    with pytest.raises(DatasetError, match=r'does not exist after 0 seconds'):
        shapes.prepare(cache)


def test_the_tool_applies_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'set'
    options = ['--num-train', '2', '--num-val', '1', '--size', '96', '--seed', '4']
    assert run_tool('generate_shapes', ['--out', str(out), *options]) == 0
    assert str(out) in capsys.readouterr().out
    assert cv2.imread(str(out / 'val' / '000000.jpg')).shape == (96, 96, 3)
    assert json.loads((out / 'dataset.json').read_text())['seed'] == 4


def test_other_classes_are_drawn_in_a_folder_of_their_own(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'others'
    options = ['--other-classes', '--num-train', '12', '--num-val', '2']
    assert run_tool('generate_shapes', ['--out', str(out), *options]) == 0
    assert ', '.join(shapes.OTHER_CLASSES) in capsys.readouterr().out
    names = {category['name'] for category in coco(out, 'train').cats.values()}
    assert names == set(shapes.OTHER_CLASSES) and not names & set(shapes.CLASSES)
    assert set(coco(out, 'train').catToImgs) == set(range(1, 7)), 'every class occurs'
    assert run_tool('generate_shapes', options) == 2
    assert run_tool('generate_shapes', [*options, '--task', 'classification']) == 2
    assert capsys.readouterr().err.count('--out DIR') == 2
    assert not cache.exists()


def test_the_tool_writes_into_the_cache_by_default(cache: Path) -> None:
    assert run_tool('generate_shapes', ['--num-train', '2', '--num-val', '1']) == 0
    assert shapes.is_generated(cache)


def test_the_tool_refuses_a_folder_with_other_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'photo.jpg').write_text('mine')
    assert run_tool('generate_shapes', ['--out', str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f'{tmp_path} is not empty' in error
    assert 'Traceback' not in error
