"""What is read of a dataset, whatever its format was."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casvit.names import read_lines
from casvit_mm.datasets.formats.folders import IMAGES
from casvit_mm.datasets.issues import IssueList

SPLITS = ('train', 'val', 'test')
# Tools have names of their own for the three parts of a dataset.
SPLIT_NAMES = {
    **dict.fromkeys(('train', 'training', 'trainset', 'tr'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation', 'valset', 'dev'), 'val'),
    **dict.fromkeys(('test', 'testing', 'testset'), 'test'),
}
# A dataset that is not split has one part of this name.
UNSPLIT = 'all'


@dataclass
class ObjectSplit:
    """One part of a dataset of objects.

    Attributes:
        content: As a COCO annotation file holds it. Where another format was read, annotations
            and images have a ``source``: their file, and their place in it.
        file: The file, or folder of files, that it was read from.
        images: The folder that ``file_name`` starts from.
        whole: Whether ``content`` is that of a COCO file as it is.
    """

    content: dict[str, Any]
    file: Path
    images: Path
    verbatim: bool = False

    def image(self, record: dict[str, Any]) -> Path:
        """The file of one of its records of images."""
        return self.images / record['file_name']


@dataclass
class ObjectDataset:
    """A dataset of objects: boxes, and masks where the format has them.

    Attributes:
        format: Its format, as a person calls it.
        root: Its folder.
        splits: Its parts by name: some of :data:`SPLITS`, or :data:`WHOLE`.
        notes: What the format, or its reader, does not hold.
        issues: Files and records that could not be read.
    """

    format: str
    root: Path
    splits: dict[str, ObjectSplit]
    notes: list[str] = field(default_factory=list)
    issues: IssueList = field(default_factory=IssueList)


@dataclass(frozen=True)
class Pair:
    """An image and its semantic mask, either of which may be missing."""

    image: Path | None
    mask: Path | None


@dataclass
class MaskDataset:
    """A dataset of images with semantic masks.

    Attributes:
        format: ``index semantic masks`` or ``colour semantic masks``.
        root: Its folder.
        splits: Pairs by the name of the part.
        classes: Names of the classes, those that maps do not name numbered.
        palette: RGB colour of each class.
        legend: Index of each RGB colour, 255 for what is ignored; None for index maps.
        notes: What a person should know of how it was read.
        names_file: The file that names the classes; None if they are numbered.
    """

    format: str
    root: Path
    splits: dict[str, list[Pair]]
    classes: list[str]
    palette: list[tuple[int, int, int]]
    legend: dict[tuple[int, int, int], int] | None = None
    notes: list[str] = field(default_factory=list)
    names_file: Path | None = None


def split_of(*names: str) -> str:
    """The part that the last telling name of a path stands for; :data:`WHOLE` where none does.

    Args:
        names: Names of folders and files, without endings: ``instances_train2017``.
    """
    for name in reversed(names):
        words = ''.join(c if c.isalpha() else ' ' for c in name.lower()).split()
        for word in words:
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return UNSPLIT


def listed_splits(root: Path, *kinds: str) -> dict[str, str]:
    """The part of each image by Pascal VOC's lists, ``ImageSets/<kind>/train.txt`` and so on.

    Args:
        root: The folder that ``ImageSets`` is in.
        kinds: Kinds of lists; the first one that there is counts.

    Returns:
        Names of parts by name of image, without its ending; empty where there are no lists.
    """
    splits: dict[str, str] = {}
    for kind in kinds:
        for path in sorted((root / 'ImageSets' / kind).glob('*.txt')):
            if path.stem not in SPLITS:
                continue
            for line in read_lines(path):
                # A name may be followed by whether the class of the list is on the image.
                name = re.sub(r'\s+-?[01]$', '', line.strip())
                if Path(name).suffix.lower() in IMAGES:
                    name = name[: name.rindex('.')]
                if name:
                    splits.setdefault(Path(name).name, path.stem)
        if splits:
            break
    return splits
