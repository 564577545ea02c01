"""Images of classes as mmpretrain reads them: a folder for each class, or a list."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from casvit.encodings import decode
from casvit.errors import DatasetError
from casvit.files import is_file
from casvit.sentences import count_of, short, some
from casvit_mm.datasets.formats.folders import IMAGES
from casvit_mm.datasets.issues import IssueList

# What mmpretrain reads by default, in upper or lower case.
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')
# Further images, which it skips.
OTHER_IMAGES = tuple(
    {*IMAGES, '.avif', '.heic', '.heif', '.jfif', '.jp2', '.jpe'}.difference(EXTENSIONS)
)
# Class indices of a list without names, which are numbered up to the highest.
MOST_CLASSES = 10**5
LARGEST_LIST = 2**30
LONGEST_INDEX = 9
# Lines and classes of a list that are reported one by one.
MOST_REPORTED = 1000


class ClassImage(NamedTuple):
    """An image of a class.

    Attributes:
        name: Its path in the folder of its split.
        label: Index of its class in its split.
        line: Its line in the list, from 1; 0 for the image of a class folder.
    """

    name: str
    label: int
    line: int = 0


@dataclass
class ClassSplit:
    """One split of a dataset of classes.

    Attributes:
        folder: The folder that the names of its images are relative to.
        images: Its images.
        classes: Names of its classes by index; None for a list whose classes have no names.
        file: The list that it was read from; None for class folders.
        skipped: Images in class folders that a run skips because of their suffix.
        loose: Number of images beside the class folders, which a run skips.
        extensions: Suffixes of the images that a run reads.
        unread: Number of lines of the list that name no usable image and class.
        issues: Issues of the list.
    """

    folder: Path
    images: list[ClassImage]
    classes: list[str] | None
    file: Path | None = None
    skipped: list[ClassImage] = field(default_factory=list)
    loose: int = 0
    extensions: tuple[str, ...] = EXTENSIONS
    unread: int = 0
    issues: IssueList = field(default_factory=IssueList)

    @property
    def source(self) -> Path:
        """The list, or the folder of the class folders."""
        return self.file or self.folder

    @property
    def names(self) -> list[str]:
        """Names of its classes by index; numbers if they have none."""
        if self.classes is not None:
            return self.classes
        return [str(i) for i in range(max((image.label for image in self.images), default=-1) + 1)]

    def path(self, image: ClassImage) -> Path:
        """The file of an image."""
        return self.folder / image.name

    def class_of(self, image: ClassImage) -> str:
        """The name of the class of an image."""
        return str(image.label) if self.classes is None else self.classes[image.label]


@dataclass
class ClassDataset:
    """A dataset for classification.

    Attributes:
        format: Display name of its layout.
        root: Its folder.
        splits: Its splits by name: some of :data:`SPLITS`, or :data:`UNSPLIT`.
        notes: Remarks on how it was read, and what was left out.
        issues: Issues that concern no split, or several.
    """

    format: str
    root: Path
    splits: dict[str, ClassSplit]
    notes: list[str] = field(default_factory=list)
    issues: IssueList = field(default_factory=IssueList)


def read_class_folders(folder: Path, extensions: Sequence[str] = EXTENSIONS) -> ClassSplit:
    """Reads a folder of class folders, in mmpretrain's order of classes and with all it finds.

    Hidden folders count: mmpretrain numbers them as well.

    Args:
        folder: The folder.
        extensions: Suffixes of images, in lower case.

    Raises:
        OSError: A folder cannot be read.
    """
    inner, loose = _entries(folder)
    wanted = tuple(extensions)
    split = ClassSplit(folder, [], inner, extensions=wanted)
    split.loose = sum(name.lower().endswith((*wanted, *OTHER_IMAGES)) for name in loose)
    for index, name in enumerate(inner):
        for file in sorted(_files(folder, name)):
            ending = file.lower()
            if ending.endswith(wanted):
                split.images.append(ClassImage(file, index))
            elif ending.endswith(OTHER_IMAGES):
                split.skipped.append(ClassImage(file, index))
    return split


def read_class_list(file: Path, folder: Path, classes: Sequence[str] | None = None) -> ClassSplit:
    """Reads a list of images and class indices, one a line.

    Args:
        file: The list.
        folder: The folder that the listed names are relative to.
        classes: Names of the classes; numbered if None.

    Raises:
        DatasetError: The list cannot be read, or is not text.
    """
    split = ClassSplit(folder, [], None if classes is None else list(classes), file)
    text, encoding = _read(file)
    if encoding:
        detail = f'is {encoding}, but a run reads plain UTF-8: save it as that'
        split.issues.add('broken-record', str(file), '', detail)
    number = MOST_CLASSES if split.classes is None else len(split.classes)
    lines = text.split('\n')
    if not lines[-1]:
        lines.pop()
    for line, content in enumerate(lines, 1):
        # As mmpretrain splits it.
        name, _, index = content.strip().rpartition(' ')
        if not name or not index.isdecimal():
            detail = (
                f'is {short(content)}: expected a file name, a space and a class index, such as '
                "'cats/1.jpg 0'"
            )
            _report(split, 'broken-record', line, detail)
        elif len(index) > LONGEST_INDEX or int(index) >= number:
            known = f'there are {count_of(number, "class")}, numbered from 0'
            if split.classes is not None:
                known += f': {some(split.classes)}'
            shown = index if len(index) <= LONGEST_INDEX else f'{index[:LONGEST_INDEX]}...'
            _report(split, 'label-value', line, f'has the class index {shown}, but {known}')
        else:
            split.images.append(ClassImage(name, int(index), line))
    if split.unread > MOST_REPORTED:
        detail = f'has {split.unread - MOST_REPORTED:,} more lines like these'
        split.issues.add('broken-record', str(file), '', detail)
    return split


def _report(split: ClassSplit, kind: str, line: int, detail: str) -> None:
    split.unread += 1
    if split.unread <= MOST_REPORTED:
        split.issues.add(kind, str(split.file), f'line {line}', detail, 'lines', line)


def _read(file: Path) -> tuple[str, str]:
    """The text of a list, and the name of its encoding if it is not plain UTF-8."""
    if not is_file(file):
        raise DatasetError(f'The list of images {file} is not a file.')
    if file.stat().st_size > LARGEST_LIST:
        raise DatasetError(f'The list of images {file} is larger than 1 GiB.')
    try:
        return decode(file.read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f'The list of images {file} cannot be read: {reason}.') from error
    except ValueError as error:
        raise DatasetError(f'The list of images {file} {error}.') from error


def _entries(folder: Path | str) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files that mmengine lists in a folder, sorted."""
    inner, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith('.') and entry.is_file():
                files.append(entry.name)
            elif entry.is_dir():
                inner.append(entry.name)
    return sorted(inner), sorted(files)


def _files(root: Path, name: str) -> list[str]:
    """All files below a folder, relative to a root."""
    found = []
    waiting = [(name, frozenset[str]())]
    while waiting:
        place, above = waiting.pop()
        real = os.path.realpath(root / place)
        # A link to a folder that it lies in has no end.
        if real in above:
            continue
        inner, files = _entries(root / place)
        found += [f'{place}/{file}' for file in files]
        waiting += [(f'{place}/{other}', above | {real}) for other in inner]
    return found
