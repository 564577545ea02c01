"""Where the images of a YOLO dataset, their splits and their label files are."""

import difflib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from casvit.sentences import count_of, some
from casvit.tables import SPLITS
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectDataset, split_of
from casvit_mm.datasets.formats.folders import Folder, inside
from casvit_mm.datasets.formats.objects import Images
from casvit_mm.datasets.formats.yolo.description import Description
from casvit_mm.datasets.formats.yolo.files import (
    class_files,
    is_label_folder,
    lists_images,
    looks_like_label,
    usual_places,
)
from casvit_mm.datasets.text_files import TextFiles

SHOWN = 3


@dataclass
class Labels:
    """The label files of a dataset.

    Attributes:
        of: Label file by image.
        elsewhere: Number of files by folder, for folders where they do not usually lie.
        second: Label files of images that have another one.
        unused: Label files that belong to no image.
    """

    of: dict[Path, Path] = field(default_factory=dict)
    elsewhere: Counter[Path] = field(default_factory=Counter)
    second: list[Path] = field(default_factory=list)
    unused: list[Path] = field(default_factory=list)


def match_labels(images: Images, listing: list[Folder]) -> Labels:
    """Finds the label file of each image.

    Args:
        images: The images.
        listing: All folders.
    """
    root = images.root
    by_place: dict[tuple[str, ...], list[Folder]] = {}
    for folder in listing:
        place = tuple(part.lower() for part in folder.path.relative_to(root).parts)
        by_place.setdefault(place, []).append(folder)
    names = {folder.path: set(folder.names) for folder in listing}
    labels = Labels()
    for image in images.paths:
        wanted = (f'{image.stem}.txt', f'{image.name}.txt')
        for place in usual_places(image.parent.relative_to(root).parts):
            found = by_place.get(tuple(part.lower() for part in place), ())
            paths = [f.path / name for f in found for name in wanted if name in names[f.path]]
            if paths:
                labels.of[image] = paths[0]
                break
    used = {*labels.of.values(), *class_files(listing)}
    for folder in listing:
        for path in folder.ending_in('.txt'):
            if path not in used:
                _match_label(path, images, labels)
    return labels


def _match_label(path: Path, images: Images, labels: Labels) -> None:
    """Assigns a file that does not lie in a usual place to an image, if it is a label file."""
    image = images.closest(path.stem, path.parent, lambda image: image not in labels.of)
    other = image or images.closest(path.stem, path.parent)
    if not looks_like_label(path):
        return
    if image is not None:
        labels.of[image] = path
        if not is_label_folder(path.parent.relative_to(images.root)):
            labels.elsewhere[path.parent] += 1
    elif other is not None:
        labels.second.append(path)
    else:
        labels.unused.append(path)


def split_images(
    dataset: ObjectDataset,
    description: Description,
    listing: list[Folder],
    images: Images,
    texts: TextFiles,
) -> dict[str, list[Path]]:
    """The images of each split: as described, else as lists or folders are named.

    Args:
        dataset: The dataset, to which issues and notes are added.
        description: What its files say.
        listing: All folders.
        images: All images.
        texts: Reads lists of images.

    Returns:
        Images by split; those of a list need not exist.
    """
    layout = _Layout(dataset, listing, images, texts)
    splits: dict[str, list[Path]] = {}
    gone: dict[str, list[str]] = {}
    for key, entries in description.splits.items():
        for entry in entries:
            if found := layout.images_of(entry, description):
                splits.setdefault(key, []).extend(dict.fromkeys(found))
            else:
                gone.setdefault(key, []).append(entry)
    if not splits and not description.splits:
        splits = layout.listed()
    splits = splits or layout.by_folder()
    taken = {path for paths in splits.values() for path in paths}
    for key, entries in gone.items():
        for entry in entries:
            layout.report_gone(key, entry, description.splits_file, taken)
    if idle := [path for path in images.paths if path not in taken]:
        dataset.notes.append(
            f'{count_of(len(idle), "image")} left out: in none of the named splits, such as '
            f'{idle[0]}.'
        )
    return {name: splits[name] for name in (*SPLITS, UNSPLIT) if name in splits}


class _Layout:
    def __init__(
        self, dataset: ObjectDataset, listing: list[Folder], images: Images, texts: TextFiles
    ) -> None:
        self.dataset, self.images, self.texts = dataset, images, texts
        self.root = images.root
        self.listing = listing
        self.folders = {folder.path for folder in listing}
        # Text is compared faster than paths: lists may have a million lines.
        self.by_name = {p.relative_to(self.root).as_posix(): p for p in images.paths}
        self.lists = {path for folder in listing for path in folder.ending_in('.txt')}

    def images_of(self, entry: str, description: Description) -> list[Path]:
        """The images that an entry of a description names: a folder of them, or a list."""
        base, file = description.base, description.splits_file
        folder = file if file.is_dir() else file.parent
        for start in (folder, folder / base, self.root / base):
            place = inside(self.root, start / entry.replace('\\', '/'))
            if place and (found := self._images_at(place)):
                return found
        # Paths of another machine, which end like those of this one.
        parts = _parts(f'{base}/{entry}' if base not in ('', '.') else entry)
        for first in range(len(parts)):
            left_out, kept = parts[:first], parts[first:]
            if split_of(*left_out) not in (UNSPLIT, split_of(*kept)):
                break
            for start in (folder, self.root):
                if found := self._images_at(start.joinpath(*kept)):
                    return found
        return []

    def listed(self) -> dict[str, list[Path]]:
        """The splits of lists such as ``train.txt``, as darknet and CVAT write them."""
        splits: dict[str, list[Path]] = {}
        for path in sorted(self.lists):
            name = split_of(path.stem)
            if name != UNSPLIT and lists_images(path):
                if found := self._list(path):
                    splits.setdefault(name, []).extend(found)
                else:
                    detail = 'lists images, none of which is there'
                    self.dataset.issues.add('missing-split', str(path), '', detail)
        return splits

    def by_folder(self) -> dict[str, list[Path]]:
        """The splits that folders are named after."""
        splits: dict[str, list[Path]] = {}
        for path in self.images.paths:
            splits.setdefault(self.images.split(path), []).append(path)
        return splits

    def report_gone(self, key: str, entry: str, file: Path, taken: set[Path]) -> None:
        """Reports a split that is named but not there, with the folders that may be meant."""
        free = Counter(p.parent for p in self.images.paths if p not in taken)
        names = {str(folder.relative_to(self.root)): folder for folder in free}
        similar = [n for n, f in names.items() if split_of(*f.relative_to(self.root).parts) == key]
        wanted = '/'.join(_parts(entry))
        similar += [n for n in difflib.get_close_matches(wanted, names) if n not in similar]
        detail = f'{key} is {entry!r}, where no image of {self.root} is'
        if similar:
            detail += f'; probably meant is {some(similar, SHOWN)}'
        if key == 'test' and not similar:
            # Many tools name it in any case, and training does not need it.
            self.dataset.notes.append(f'{file}: {detail}.')
        else:
            self.dataset.issues.add('missing-split', str(file), '', f'names a split: {detail}')

    def _images_at(self, place: Path) -> list[Path]:
        if place in self.lists:
            return self._list(place)
        if place not in self.folders:
            return []
        name = place.relative_to(self.root).as_posix()
        start = '' if name == '.' else f'{name}/'
        return [path for name, path in self.by_name.items() if name.startswith(start)]

    def _list(self, file: Path) -> list[Path]:
        """The images in a list; those that do not exist too, unless none does."""
        try:
            lines = self.texts.read(file).split('\n')
        except ValueError as error:
            self.dataset.issues.add('unreadable-annotation', str(file), '', str(error))
            # Each list is looked for in several places, but one issue is enough.
            self.lists.discard(file)
            return []
        paths = [self._listed_image(file, line.strip()) for line in lines if line.strip()]
        there = [path for path in paths if path in self.images.paths]
        return paths if there else []

    def _listed_image(self, file: Path, line: str) -> Path:
        parts = _parts(line)
        for start in dict.fromkeys((file.parent.relative_to(self.root).parts, ())):
            for first in range(len(parts)):
                if path := self.by_name.get('/'.join((*start, *parts[first:]))):
                    return path
        name = parts[-1] if parts else 'image'
        return self.images.closest(name, file.parent) or self.root.joinpath(*parts)


def _parts(entry: str) -> list[str]:
    """The names in a path that may be another system's, without its root and ``..``."""
    parts = PureWindowsPath(entry.replace('\0', ''))
    return [part for part in parts.parts if part not in ('..', '.', parts.anchor)]
