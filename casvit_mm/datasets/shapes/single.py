"""The generated dataset for classification: one shape per image, in one folder per class.

A root, which mmpretrain's CustomDataset reads::

    dataset.json                    parameters; written last
    train/circle/000000.png …       val/circle/000000.png …
    train/cross/000004.png …        val/cross/000004.png …
"""

from pathlib import Path

import numpy as np

from casvit.terminal.progress import Progress
from casvit_mm.datasets.shapes.generated import GeneratedSet, write_image
from casvit_mm.datasets.shapes.outlines import OUTLINES
from casvit_mm.datasets.shapes.scenes import paint_one

VERSION = 1
# Sorted, since mmpretrain numbers classes by the sorted names of their folders.
CLASSES = tuple(sorted(OUTLINES))
SPLITS = ('train', 'val')

_SET = GeneratedSet(
    'casvit_mm single shapes', f'single-shapes-v{VERSION}', '--task classification '
)
# Keeps the random streams apart from those of the other dataset, which have three numbers.
_STREAM = 1
_WAIT_SECONDS = 300

default_root = _SET.default_root
how_to_generate = _SET.how_to_generate
is_generated = _SET.is_generated
images = _SET.images


def generate(
    out: Path,
    *,
    num_train: int = 2000,
    num_val: int = 240,
    size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Writes the dataset, with its classes in turn.

    An image depends on the seed, its split, its number and ``size``, but not on the number of
    images. The folder is written atomically; an earlier dataset of this kind in it is replaced.

    Args:
        out: The root to write: a new or empty folder, or one with a dataset of this kind.
        num_train: Number of training images.
        num_val: Number of validation images.
        size: Side of the images in pixels, at least 64.
        seed: Random seed, at least 0.
        progress: Whether to draw a progress bar on stderr.

    Raises:
        DatasetError: ``out`` holds something else or cannot be written, or a parameter is out of
            range.
    """
    counts = dict(train=num_train, val=num_val)
    record = dict(
        version=VERSION,
        seed=seed,
        size=size,
        pictures=counts,
        classes=list(CLASSES),
    )

    def write(root: Path, bar: Progress) -> None:
        for split, count in counts.items():
            _write_split(root / split, SPLITS.index(split), count, size, seed, bar)

    _SET.write(out, record, write, progress=progress)


def prepare(root: Path | str) -> None:
    """Makes sure that a root exists: generates the default one if it is missing.

    Of several processes on one machine (``LOCAL_RANK``), the first generates and the others wait.

    Args:
        root: Root of a dataset of this kind.

    Raises:
        DatasetError: A root other than the default is missing, or the default one cannot be
            written.
    """
    _SET.prepare(root, generate, _WAIT_SECONDS)


def _write_split(folder: Path, split: int, count: int, size: int, seed: int, bar: Progress) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    names = list(OUTLINES)
    for index in range(count):
        label = index % len(names)
        rng = np.random.default_rng([seed, split, index, _STREAM])
        image = paint_one(rng, size, label)
        write_image(folder / names[label] / f'{index:06d}.png', image, [])
        bar.update()
