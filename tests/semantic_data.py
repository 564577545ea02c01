"""Small datasets with semantic masks, in the layouts and encodings that people have."""

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32


def labels_of(number: int, classes: int = 3, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """Class indices: areas of every class, at places that differ from mask to mask."""
    width, height = size
    labels = np.zeros((height, width), np.uint8)
    for value in range(1, classes):
        left = (3 * number + value * width // (classes + 1)) % (width - 8)
        labels[4 + value % 5 : height - 6, left : left + 7] = value
    return labels


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Writes an image of noise, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, labels: np.ndarray, mode: str = 'L', **options: object) -> Path:
    """Writes a mask; ``P`` with VOC's palette, ``RGB`` and ``RGBA`` with equal channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == '1':
        image = Image.fromarray(labels > 0)
    elif mode == 'I;16':
        image = Image.fromarray(labels.astype(np.uint16))
    else:
        image = Image.fromarray(labels)
        if mode == 'P':
            image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
        elif mode != 'L':
            image = image.convert(mode)
    image.save(path, **options)
    return path


def write_pairs(
    root: Path,
    number: int = 4,
    *,
    image: str = 'images/{split}/{name}.jpg',
    mask: str = 'labels/{split}/{name}.png',
    splits: tuple[str, ...] = ('train', 'val'),
    classes: int = 3,
    mode: str = 'L',
    values: object = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    **options: object,
) -> Path:
    """Writes images and masks.

    Args:
        root: Folder of the dataset.
        number: Images per split.
        image: Pattern of the paths of images.
        mask: Pattern of the paths of masks.
        splits: Names of the splits.
        classes: Number of classes.
        mode: Pillow's mode of the masks.
        values: Stored value of each class; the class index if None.
        size: Width and height.
        **options: How to save the masks.
    """
    for place, split in enumerate(splits):
        for index in range(number):
            seed = 100 * place + index
            names = dict(split=split, name=f'{split}_{index:03d}', number=index)
            write_photo(root / image.format(**names), seed, size)
            labels = labels_of(seed, classes, size)
            if values is not None:
                labels = np.asarray(values, np.uint16 if mode == 'I;16' else np.uint8)[labels]
            write_mask(root / mask.format(**names), labels, mode, **options)
    return root
