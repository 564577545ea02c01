"""A dataset as it is read, whatever its format."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casvit.names import read_lines
from casvit_mm.datasets.formats.folders import IMAGES, lies_in
from casvit_mm.datasets.issues import IssueList

# Names that tools use for the three splits.
SPLIT_NAMES = {
    **dict.fromkeys(('train', 'training', 'trainset', 'tr'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation', 'valset', 'dev'), 'val'),
    **dict.fromkeys(('test', 'testing', 'testset'), 'test'),
}
# The name of the only split of a dataset that is not split.
UNSPLIT = 'all'


@dataclass
class ObjectSplit:
    """One split of a dataset of objects.

    Attributes:
        content: The content of a COCO annotation file. If it was read from another format,
            annotations have a ``source``: their file, and their place in it.
        file: The file, or folder of files, that it was read from.
        images: The folder that ``file_name`` is relative to.
        verbatim: Whether ``file`` is a COCO file with exactly this content, so that a run can read
            it; false if anything was completed or renamed while reading.
    """

    content: dict[str, Any]
    file: Path
    images: Path
    verbatim: bool = False

    def image(self, record: dict[str, Any]) -> Path:
        """Path of the image of a record."""
        return self.images / record['file_name']

    def holds(self, image: Path, root: Path) -> bool:
        """Whether an image lies in the image folder, or at least in the root of the dataset."""
        return lies_in(image, self.images, root)


@dataclass
class ObjectDataset:
    """A dataset of objects: boxes, and masks if the format has them.

    Attributes:
        format: Display name of its format.
        root: Its folder.
        splits: Its splits by name: some of :data:`SPLITS`, or :data:`UNSPLIT`.
        notes: What the format cannot store, or the reader leaves out.
        changes: What the reader completed or renamed.
        issues: Files and records that could not be read.
    """

    format: str
    root: Path
    splits: dict[str, ObjectSplit]
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
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
        format: Display name: ``semantic masks with class indices`` or ``… with colours``.
        root: Its folder.
        splits: Pairs by split.
        classes: Names of the classes; numbered if no file names them.
        palette: RGB colour of each class.
        legend: Class index of each RGB colour, 255 for ignored ones; None for masks of class
            indices.
        notes: Remarks on how it was read.
        names_file: The file that names the classes; None if they are numbered.
        values: Class index of each stored value, 255 for ignored ones; None if the values are the
            class indices.
        named: Whether the classes have names of their own, from a file or a known dataset.
    """

    format: str
    root: Path
    splits: dict[str, list[Pair]]
    classes: list[str]
    palette: list[tuple[int, int, int]]
    legend: dict[tuple[int, int, int], int] | None = None
    notes: list[str] = field(default_factory=list)
    names_file: Path | None = None
    values: dict[int, int] | None = None
    named: bool = False


def split_of(*names: str) -> str:
    """Detects the split from the names in a path; the last match counts.

    Args:
        names: Names of folders and files, without suffixes: ``instances_train2017``.

    Returns:
        One of :data:`SPLITS`, or :data:`UNSPLIT`.
    """
    for name in reversed(names):
        words = ''.join(c if c.isalpha() else ' ' for c in name.lower()).split()
        for word in words:
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return UNSPLIT


def listed_splits(root: Path, *kinds: str) -> dict[str, str]:
    """Reads the split of each image from Pascal VOC's lists, ``ImageSets/<kind>/train.txt`` etc.

    Args:
        root: The folder that contains ``ImageSets``.
        kinds: Kinds of lists; the first that exists is used.

    Returns:
        Split by image name, without suffix; empty if there are no lists.
    """
    splits: dict[str, str] = {}
    for kind in kinds:
        lists = {path.stem: path for path in sorted((root / 'ImageSets' / kind).glob('*.txt'))}
        if 'train' not in lists and 'trainval' in lists:
            lists['train'] = lists.pop('trainval')
        for stem, path in lists.items():
            if stem.lower() not in SPLIT_NAMES:
                continue
            for line in read_lines(path):
                # A name may be followed by a flag: whether the image shows the class of the list.
                name = re.sub(r'\s+-?[01]$', '', line.strip())
                if Path(name).suffix.lower() in IMAGES:
                    name = name[: name.rindex('.')]
                if name:
                    splits.setdefault(Path(name).name, SPLIT_NAMES[stem.lower()])
        if splits:
            break
    return splits
