"""The generated dataset: shapes on textured images, annotated for detection and segmentation.

It needs no download, is the same everywhere for the same seed, and trains in minutes. A root::

    dataset.json                          parameters; written last
    train/000000.jpg …    val/…           images
    annotations/instances_train.json      COCO instances: visible masks (RLE), their boxes
    annotations/instances_val.json
    labels/train/000000.png …             semantic masks: 0 background, 1 … the classes in order

Objects overlap; only their visible pixels are annotated. Masks are run lengths, not polygons,
because polygons cannot represent the hole of a ring.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from casvit.terminal.progress import Progress
from casvit_mm.datasets.shapes.generated import GeneratedSet, write_image, write_json
from casvit_mm.datasets.shapes.outlines import OTHER_OUTLINES, OUTLINES, Outlines
from casvit_mm.datasets.shapes.scenes import Scene, paint

VERSION = 1
CLASSES = tuple(OUTLINES)
OTHER_CLASSES = tuple(OTHER_OUTLINES)
PALETTE = (
    (228, 26, 28),
    (55, 126, 184),
    (77, 175, 74),
    (255, 193, 7),
    (152, 78, 163),
    (255, 127, 0),
)
SPLITS = ('train', 'val')

_SET = GeneratedSet('casvit_mm shapes', f'shapes-v{VERSION}')
_EMPTY_EVERY = 25
_JPEG_QUALITY = 95
_WAIT_SECONDS = 300

default_root = _SET.default_root
how_to_generate = _SET.how_to_generate
is_generated = _SET.is_generated
images = _SET.images


def generate(
    out: Path,
    *,
    num_train: int = 400,
    num_val: int = 100,
    size: int = 160,
    seed: int = 0,
    others: bool = False,
    progress: bool = True,
) -> None:
    """Writes the dataset.

    An image depends on the seed, its split, its number and ``size``, but not on the number of
    images. The folder is written atomically; an earlier generated dataset in it is replaced.

    Args:
        out: The root to write: a new or empty folder, or one with a generated dataset.
        num_train: Number of training images.
        num_val: Number of validation images.
        size: Side of the images in pixels, at least 64.
        seed: Random seed, at least 0.
        others: Whether to use :data:`OTHER_CLASSES` instead of :data:`CLASSES`.
        progress: Whether to draw a progress bar on stderr.

    Raises:
        DatasetError: ``out`` holds something else or cannot be written, or a parameter is out of
            range.
    """
    outlines = OTHER_OUTLINES if others else OUTLINES
    counts = dict(train=num_train, val=num_val)
    record = dict(
        version=VERSION,
        seed=seed,
        size=size,
        pictures=counts,
        classes=list(outlines),
    )

    def write(root: Path, bar: Progress) -> None:
        for split, count in counts.items():
            _write_split(root, split, count, size, seed, outlines, bar)

    _SET.write(out, record, write, progress=progress)


def prepare(root: Path | str) -> None:
    """Makes sure that a root exists: generates the default one if it is missing.

    Of several processes on one machine (``LOCAL_RANK``), the first generates and the others wait.

    Args:
        root: Root of a generated dataset.

    Raises:
        DatasetError: A root other than the default is missing, or the default one cannot be
            written.
    """
    _SET.prepare(root, generate, _WAIT_SECONDS)


def _write_split(
    root: Path, split: str, count: int, size: int, seed: int, outlines: Outlines, bar: Progress
) -> None:
    """Writes images, semantic masks and the annotation file of one split."""
    folder, labels = root / split, root / 'labels' / split
    for needed in (folder, labels, root / 'annotations'):
        needed.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        empty = index % _EMPTY_EVERY == _EMPTY_EVERY - 1
        scene = paint(rng, size, empty=empty, outlines=outlines)
        name = f'{index:06d}'
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        write_image(folder / f'{name}.jpg', scene.image, quality)
        write_image(labels / f'{name}.png', _semantic_mask(scene), [])
        images.append(dict(id=index + 1, file_name=f'{name}.jpg', width=size, height=size))
        annotations.extend(_annotations(scene, index + 1, first_id=len(annotations) + 1))
        bar.update()
    write_json(
        root / 'annotations' / f'instances_{split}.json',
        dict(
            info=dict(description=_SET.generator, version=str(VERSION), split=split, seed=seed),
            licenses=[],
            images=images,
            annotations=annotations,
            categories=[dict(id=i, name=name) for i, name in enumerate(outlines, start=1)],
        ),
    )


def _semantic_mask(scene: Scene) -> np.ndarray:
    labels = np.zeros(scene.image.shape[:2], np.uint8)
    for instance in scene.instances:
        labels[instance.mask] = instance.label + 1
    return labels


def _annotations(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """COCO records of the objects of an image; ``visible`` is the share that is not covered."""
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
