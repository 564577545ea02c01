"""Datasets for classification of real images in varied types, for tests."""

from pathlib import Path

from images import KINDS, write_image

# Types and modes that mmpretrain reads by default.
READ = [(suffix, mode) for suffix, mode in KINDS if suffix in ('.jpg', '.png', '.tif', '.bmp')]


def write_classes(root: Path, classes=('bird', 'cat', 'dog'), splits=('train', 'val')) -> Path:
    """Writes two different images of every class to each split, nested and of varied types."""
    seed = 0
    for split in splits:
        for name in classes:
            for number in range(2):
                suffix, mode = READ[seed % len(READ)]
                folder = root / split / name / ('nested' if number else '')
                folder.mkdir(parents=True, exist_ok=True)
                suffix = suffix.upper() if seed % 3 == 0 and suffix == '.jpg' else suffix
                write_image(folder / f'{number}{suffix}', mode, (40 + seed, 30), seed=seed)
                seed += 1
    return root


def write_lists(root: Path, folder='meta', classes=('bird', 'cat', 'dog')) -> Path:
    """Writes flat splits of images with lists of class indices, as mmpretrain's ImageNet has."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    seed = 0
    for split in ('train', 'val'):
        lines = []
        (root / split).mkdir()
        for label in range(len(classes)):
            for number in range(2):
                name = f'{label}_{number}.jpg'
                write_image(root / split / name, seed=seed)
                lines.append(f'{name} {label}\n')
                seed += 1
        (root / folder / f'{split}.txt').write_text(''.join(lines))
    return root
