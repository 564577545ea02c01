"""The generated data set: shapes on textured pictures, annotated for detection and segmentation.

It needs no download, is the same everywhere for the same seed, and trains in minutes. A root::

    dataset.json                          what it was generated with; written last
    train/000000.jpg …    val/…           pictures
    annotations/instances_train.json      COCO instances: visible masks (RLE), their boxes
    annotations/instances_val.json
    labels/train/000000.png …             label maps: 0 background, 1 … the classes in order

Objects cover each other; what is annotated is what is seen. Masks are run lengths, not polygons,
because a polygon holds no hole, and a ring has one.
"""

import json
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle
from tqdm import tqdm

from casvit_mm.datasets.errors import DatasetError
from casvit_mm.datasets.scenes import OUTLINES, SMALLEST_SIDE, Scene, paint

VERSION = 1
CLASSES = tuple(OUTLINES)
PALETTE = (
    (228, 26, 28),
    (55, 126, 184),
    (77, 175, 74),
    (255, 193, 7),
    (152, 78, 163),
    (255, 127, 0),
)
SPLITS = ('train', 'val')
RECORD = 'dataset.json'

_GENERATOR = 'casvit_mm shapes'
_EMPTY_EVERY = 25
_JPEG_QUALITY = 95
_WAIT_SECONDS = 300


def default_root() -> Path:
    """Where the data set lives if nobody says otherwise: the user's cache folder."""
    if cache := os.environ.get('XDG_CACHE_HOME'):
        base = Path(cache)
    elif sys.platform == 'win32':
        base = Path(os.environ.get('LOCALAPPDATA') or Path.home() / 'AppData' / 'Local')
    elif sys.platform == 'darwin':
        base = Path.home() / 'Library' / 'Caches'
    else:
        base = Path.home() / '.cache'
    return base / 'casvit_mm' / f'shapes-v{VERSION}'


def how_to_generate(root: Path | str) -> str:
    """The command that generates a root, to be shown where it is missing."""
    return f'python tools/generate_shapes.py --out {shlex.quote(str(root))}'


def is_generated(root: Path) -> bool:
    """Whether a folder is a complete generated data set."""
    try:
        record = json.loads((Path(root) / RECORD).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get('generator') == _GENERATOR


def generate(
    out: Path,
    *,
    num_train: int = 400,
    num_val: int = 100,
    size: int = 160,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Writes the data set.

    A picture depends on the seed, its split, its number and ``size``, not on how many others there
    are. The folder appears complete or not at all; an earlier generated set in it is replaced.

    Args:
        out: The root to write: a new or empty folder, or one with a generated set.
        num_train: Pictures to train on.
        num_val: Pictures to validate on.
        size: Side of the pictures in pixels, at least 64.
        seed: Start of all random numbers, at least 0.
        progress: Whether to draw a progress bar on stderr.

    Raises:
        DatasetError: ``out`` holds something else or cannot be written, or a number is impossible.
    """
    for name, value, least in (
        ('number of training pictures', num_train, 1),
        ('number of validation pictures', num_val, 1),
        ('size', size, SMALLEST_SIDE),
        ('seed', seed, 0),
    ):
        if value < least:
            raise DatasetError(
                f'The {name} of a generated data set is at least {least}, not {value}.'
            )
    out = Path(out).expanduser().resolve()
    record = dict(
        generator=_GENERATOR,
        version=VERSION,
        seed=seed,
        size=size,
        pictures=dict(train=num_train, val=num_val),
        classes=list(CLASSES),
    )
    try:
        _refuse_foreign(out)
        replace = is_generated(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=f'.{out.name}-', dir=out.parent) as scratch,
            tqdm(
                total=num_train + num_val,
                desc='generating shapes',
                unit='picture',
                disable=not progress,
            ) as bar,
        ):
            # The scratch folder itself is readable by its owner alone; a folder in it is ordinary.
            root = Path(scratch) / 'new'
            for split, count in (('train', num_train), ('val', num_val)):
                _write_split(root, split, count, size, seed, bar)
            _write_json(root / RECORD, record)
            _move_into_place(root, out, Path(scratch) / 'old', replace=replace)
    except OSError as error:
        raise DatasetError(
            f'The data set cannot be written to {out}: {error.strerror or error}. Generate it '
            f'elsewhere ({how_to_generate("DIR")}) and give --data-root DIR.'
        ) from error


def prepare(root: Path | str) -> None:
    """Sees to it that a root is there: the default one is generated where it is not.

    Of several processes on one machine (``LOCAL_RANK``) the first generates, the others wait.

    Args:
        root: Root of a generated data set.

    Raises:
        DatasetError: Another root than the default one is missing, or the default one cannot be
            written.
    """
    root = Path(root)
    if root.resolve() == default_root().resolve():
        if is_generated(root):
            return
        if os.environ.get('LOCAL_RANK', '0') == '0':
            generate(root)
        else:
            _wait_for(root)
    elif not root.is_dir():
        raise DatasetError(
            f'The data set {root} does not exist. This generates it: {how_to_generate(root)}'
        )


def _refuse_foreign(out: Path) -> None:
    """Keeps the generator from deleting what it did not write."""
    if out.exists() and not out.is_dir():
        raise DatasetError(f'{out} is a file; the data set needs a folder. Choose another --out.')
    if out.is_dir() and any(out.iterdir()) and not is_generated(out):
        raise DatasetError(
            f'The folder {out} is not empty, and what it holds is no generated data set. '
            'Choose another one with --out, or empty it.'
        )


def _move_into_place(new: Path, out: Path, old: Path, *, replace: bool) -> None:
    """Renames a finished root to where it belongs; what was there goes to ``old``.

    A set that appeared meanwhile is another process's, which was asked for the same, and stays
    unless there was one to ``replace`` from the start.
    """
    if not replace and is_generated(out):
        return
    _refuse_foreign(out)
    try:
        if out.exists():
            out.rename(old)
        new.rename(out)
    except OSError:
        if is_generated(out):
            return
        if old.exists():
            old.rename(out)
        raise


def _wait_for(root: Path) -> None:
    """Waits while another process generates a root."""
    until = time.monotonic() + _WAIT_SECONDS
    while not is_generated(root):
        if time.monotonic() > until:
            raise DatasetError(
                f'The data set {root}, which the first process of this machine was to generate, '
                f'is not there after {_WAIT_SECONDS} seconds. '
                f'This generates it: {how_to_generate(root)}'
            )
        time.sleep(0.2)


def _write_split(root: Path, split: str, count: int, size: int, seed: int, bar: tqdm) -> None:
    """Writes pictures, label maps and the annotation file of one split."""
    pictures, labels = root / split, root / 'labels' / split
    for folder in (pictures, labels, root / 'annotations'):
        folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        scene = paint(rng, size, empty=index % _EMPTY_EVERY == _EMPTY_EVERY - 1)
        name = f'{index:06d}'
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        _write_image(pictures / f'{name}.jpg', scene.picture, quality)
        _write_image(labels / f'{name}.png', _label_map(scene), [])
        images.append(dict(id=index + 1, file_name=f'{name}.jpg', width=size, height=size))
        annotations.extend(_annotations(scene, index + 1, first_id=len(annotations) + 1))
        bar.update()
    _write_json(
        root / 'annotations' / f'instances_{split}.json',
        dict(
            info=dict(description=_GENERATOR, version=str(VERSION), split=split, seed=seed),
            licenses=[],
            images=images,
            annotations=annotations,
            categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)],
        ),
    )


def _label_map(scene: Scene) -> np.ndarray:
    labels = np.zeros(scene.picture.shape[:2], np.uint8)
    for instance in scene.instances:
        labels[instance.mask] = instance.label + 1
    return labels


def _annotations(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """COCO records of a picture's objects; ``visible`` is the uncovered share of each."""
    records = []
    for offset, instance in enumerate(scene.instances):
        encoded = rle.encode(np.asfortranarray(instance.mask.astype(np.uint8)))
        records.append(
            dict(
                id=first_id + offset,
                image_id=image_id,
                category_id=instance.label + 1,
                bbox=[float(value) for value in rle.toBbox(encoded)],
                area=int(rle.area(encoded)),
                iscrowd=0,
                segmentation=dict(size=encoded['size'], counts=encoded['counts'].decode('ascii')),
                visible=round(instance.visible, 4),
            )
        )
    return records


def _write_image(path: Path, image: np.ndarray, options: list[int]) -> None:
    # cv2.imwrite cannot take every path that the system can.
    _, data = cv2.imencode(path.suffix, image, options)
    path.write_bytes(data.tobytes())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=None) + '\n', encoding='utf-8', newline='\n')
