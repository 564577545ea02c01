"""Finds class folders and lists of images, and which split each of them is."""

import re
from collections.abc import Iterable
from pathlib import Path

from casvit.errors import DatasetError
from casvit.files import is_file
from casvit.sentences import count_of, some
from casvit_mm.datasets.formats.classes import (
    EXTENSIONS,
    OTHER_IMAGES,
    ClassDataset,
    ClassSplit,
    read_class_folders,
    read_class_list,
)
from casvit_mm.datasets.formats.dataset import SPLIT_NAMES, UNSPLIT
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.formats.semantic.legends import NAMES, read_classes
from casvit_mm.datasets.text_files import TextFiles

# Folders of lists, from the one in which mmpretrain looks.
LIST_FOLDERS = ('meta', '', 'annotations', 'splits', 'lists')
SPLIT = re.compile(r'([a-z]+?)(?:[_\- ]?(?:images?|imgs?|data|set|split))?(?:[_\- ]?\d+)?')
LIST = re.compile(r'([a-z]+?)(?:[_\- ]?(?:list|labels?|images?))?(?:[_\- ]?\d+)?\.txt')
# Also with separators that a run does not read, so that the audit says so.
ENTRY = re.compile(r'\S.*[ ,;\t]\d+\s*$')
ANY_IMAGE = (*EXTENSIONS, *OTHER_IMAGES)
# Listed images that are looked for, to tell which folder their names are relative to.
LOOKED_FOR = 20


def find_classes(root: Path, listing: Iterable[Folder]) -> Path | None:
    """Finds the folder that holds the splits, or else the class folders.

    Args:
        root: The folder of the dataset.
        listing: It and all folders below.

    Returns:
        The folder; None if there are no images in folders.
    """
    tree = _Tree(root, listing)
    base = root
    while True:
        inner = tree.inner(base)
        if _split_folders(base, tree) or _lists(base, tree):
            return base
        if len(inner) == 1 and not tree.own(base) and tree.inner(inner[0]):
            base = inner[0]
        else:
            return base if inner else None


def resembles_classes(root: Path, listing: Iterable[Folder]) -> bool:
    """Whether a folder holds several folders of images, as splits or classes are."""
    listing = list(listing)
    base = find_classes(root, listing)
    return base is not None and len(_Tree(root, listing).inner(base)) > 1


def read_classes_of(root: Path, base: Path, listing: Iterable[Folder]) -> ClassDataset:
    """Reads a dataset for classification.

    Args:
        root: The folder of the dataset.
        base: The folder that :func:`find_classes` returned.
        listing: The root and all folders below.

    Raises:
        DatasetError: A folder or list cannot be read, or two folders are the same split.
    """
    tree = _Tree(root, listing)
    dataset = ClassDataset('class folders', root, {})
    split_folders, lists = _split_folders(base, tree), _lists(base, tree)
    try:
        if split_folders or lists:
            _read_splits(dataset, base, split_folders, lists, tree)
        else:
            dataset.splits[UNSPLIT] = read_class_folders(base)
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f'{error.filename or base} cannot be read: {reason}.') from error
    for split in dataset.splits.values():
        if split.loose and split.classes:
            number = count_of(split.loose, 'image')
            dataset.notes.append(f'{number} in {split.folder} but in no class folder: left out.')
    return dataset


class _Tree:
    """The folders of a dataset, and those that hold images somewhere below."""

    def __init__(self, root: Path, listing: Iterable[Folder]) -> None:
        self.listing = {folder.path: folder for folder in listing}
        self.holders: set[Path] = set()
        self.below: dict[Path, list[Path]] = {}
        for path, folder in self.listing.items():
            if path != root:
                self.below.setdefault(path.parent, []).append(path)
            holds = any(name.lower().endswith(ANY_IMAGE) for name in folder.names)
            while holds and path not in self.holders:
                self.holders.add(path)
                path = path.parent if path != root else path

    def own(self, path: Path) -> list[str]:
        """The images directly in a folder."""
        return [name for name in self.names(path) if name.lower().endswith(ANY_IMAGE)]

    def inner(self, path: Path) -> list[Path]:
        """The folders in a folder that hold images."""
        return [inner for inner in self.below.get(path, ()) if inner in self.holders]

    def names(self, path: Path) -> tuple[str, ...]:
        """The names of the files in a folder."""
        return self.listing[path].names if path in self.listing else ()


def _split_folders(base: Path, tree: _Tree) -> dict[str, Path]:
    """The folders of splits; a class may have such a name as well."""
    found: dict[str, Path] = {}
    for folder in tree.below.get(base, ()):
        if split := _split_name(SPLIT, folder.name):
            if split in found and folder in tree.holders and found[split] in tree.holders:
                raise DatasetError(
                    f'{found[split]} and {folder} are both the split {split!r}: leave only one of '
                    'them in the dataset.'
                )
            if split not in found or folder in tree.holders:
                found[split] = folder
    holders = [folder for folder in found.values() if folder in tree.holders]
    if len(found) == 1 and len(holders) == 1:
        # Among other folders of images it is a class, unless it has classes itself.
        alone = len(tree.inner(base)) == 1
        return found if len(tree.inner(holders[0])) >= (1 if alone else 2) else {}
    return found if holders else {}


def _lists(base: Path, tree: _Tree) -> dict[str, Path]:
    """The lists of images of each split."""
    found: dict[str, Path] = {}
    for inner in LIST_FOLDERS:
        for name in tree.names(base / inner):
            split = _split_name(LIST, name)
            if split and split not in found and _is_list(base / inner / name):
                found[split] = base / inner / name
    return found


def _split_name(pattern: re.Pattern[str], name: str) -> str:
    matched = pattern.fullmatch(name.lower())
    return SPLIT_NAMES.get(matched[1], '') if matched else ''


def _is_list(file: Path) -> bool:
    """Whether some of the first lines of a file are a name and a number."""
    try:
        text = TextFiles().read(file, 2**30)
    except ValueError:
        return False
    return any(ENTRY.match(line) for line in text[:10_000].split('\n'))


def _read_splits(
    dataset: ClassDataset,
    base: Path,
    split_folders: dict[str, Path],
    lists: dict[str, Path],
    tree: _Tree,
) -> None:
    names = _named_classes(dataset, base, tree)
    formats = set()
    folders = {
        split: folder
        for split, folder in split_folders.items()
        if tree.below.get(folder) and not (split in lists and _is_flat(folder, tree))
    }
    for split in dict.fromkeys((*SPLIT_NAMES.values(), *split_folders, *lists)):
        if split in folders:
            formats.add('class folders')
            dataset.splits[split] = read_class_folders(folders[split])
        elif split in lists:
            formats.add('lists of images')
            known = next((s.classes for s in dataset.splits.values() if s.file is None), None)
            folder = _prefix(lists[split], base, split_folders.get(split), tree)
            dataset.splits[split] = read_class_list(lists[split], folder, known or names)
        elif split == 'test' and split in split_folders:
            if own := tree.own(split_folders[split]):
                number = count_of(len(own), 'image')
                dataset.notes.append(
                    f'{split_folders[split]} has {number} without classes, which are left out.'
                )
        elif split in split_folders:
            dataset.splits[split] = read_class_folders(split_folders[split])
    for split in folders.keys() & lists.keys():
        _compare(dataset.splits[split], lists[split], dataset)
    others = [f for f in tree.inner(base) if f not in split_folders.values()]
    if split_folders and folders and others:
        shown = some((str(f.relative_to(base)) for f in others), quoted=False)
        dataset.notes.append(f'Folders of images that are no split were left out: {shown}.')
    dataset.format = ' and '.join(sorted(formats)) or dataset.format


def _is_flat(folder: Path, tree: _Tree) -> bool:
    return bool(tree.own(folder)) or not tree.inner(folder)


def _named_classes(dataset: ClassDataset, base: Path, tree: _Tree) -> list[str] | None:
    """The class names that a file gives for lists."""
    for inner in LIST_FOLDERS:
        files = {name.lower(): base / inner / name for name in tree.names(base / inner)}
        for name in NAMES:
            if name in files:
                found = read_classes(files[name])
                dataset.notes += found.notes
                return [entry.name for entry in found.entries]
    return None


def _prefix(file: Path, base: Path, own: Path | None, tree: _Tree) -> Path:
    """The folder that the names in a list are relative to: that with most of the first images."""
    images = read_class_list(file, base).images
    step = max(1, len(images) // LOOKED_FOR)
    places = [own] if own else []
    places += [base, file.parent, *tree.inner(base)]
    found = {
        place: sum(is_file(place / image.name) for image in images[::step])
        for place in dict.fromkeys(places)
    }
    return max(found, key=found.__getitem__)


def _compare(split: ClassSplit, file: Path, dataset: ClassDataset) -> None:
    """Compares a list with the class folders that hold its images."""
    labels = {image.name: image.label for image in split.images}
    listed = read_class_list(file, split.folder, split.classes)
    known = [image for image in listed.images if image.name in labels]
    if 2 * len(known) < len(listed.images) + listed.unread:
        dataset.notes.append(f'{file} was not read: the images are in class folders.')
        return
    dataset.issues.extend(listed.issues)
    differing = [image for image in known if labels[image.name] != image.label]
    if differing:
        first = differing[0]
        detail = (
            f'gives {count_of(len(differing), "image")} another class than their folder, such as '
            f'{first.name}: {first.label} in the list, {labels[first.name]} by the sorted folders'
        )
        dataset.issues.add('class-order', str(file), f'line {first.line}', detail)
