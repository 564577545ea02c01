"""Tells the text files of a YOLO dataset apart: labels, lists of images, names of classes."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath

from casvit_mm.datasets.formats.folders import IMAGES, Folder

# In this order, if there is more than one.
CLASS_FILES = (
    *('obj.names', 'classes.txt', 'classes.names', 'class_names.txt', 'names.txt'),
    *('_darknet.labels', 'predefined_classes.txt', 'labels.txt'),
)
LABEL_FOLDERS = ('labels', 'label')
SNIFFED = 4096
# Files of each folder that are looked into: those of background images are empty.
LOOKED_INTO = 50


def looks_like_label(path: Path) -> bool:
    """Whether one of the first lines of a file is a class number and at least four numbers."""
    return any(map(_is_label, _first_lines(path)))


def lists_images(path: Path) -> bool:
    """Whether the first line of a file is the name of an image."""
    return any(PureWindowsPath(p.strip()).suffix.lower() in IMAGES for p in _first_lines(path)[:1])


def class_files(listing: Iterable[Folder]) -> list[Path]:
    """The files that name classes, one per line, best first."""
    found = [
        (_rank(name), len(folder.path.parts), folder.path / name)
        for folder in listing
        for name in folder.names
        if name.lower() in CLASS_FILES or name.lower().endswith('.names')
    ]
    return [path for _, _, path in sorted(found) if not looks_like_label(path)]


def label_folders(listing: Iterable[Folder], stems: set[str]) -> list[Folder]:
    """The folders that hold label files with the names of images.

    Args:
        listing: All folders.
        stems: Names of the images, without suffix.
    """
    found = []
    for folder in listing:
        paths = [path for path in folder.ending_in('.txt') if path.stem in stems]
        sample = paths[:: max(1, len(paths) // LOOKED_INTO)]
        if any(map(looks_like_label, sample)):
            found.append(folder)
    return found


def holds_labels(listing: list[Folder], stems: set[str]) -> bool:
    """Whether there are label files, or files with the names of images in a folder called labels.

    Args:
        listing: All folders, the root first.
        stems: Names of the images, without suffix.
    """
    for folder in listing:
        paths = folder.ending_in('.txt')
        sample = paths[:: max(1, len(paths) // LOOKED_INTO)]
        if is_label_folder(folder.path.relative_to(listing[0].path)) and any(
            path.stem in stems for path in paths
        ):
            return True
        if any(map(looks_like_label, sample)):
            return True
    return False


def is_label_folder(place: Path) -> bool:
    """Whether a folder, or one that it is in, is called labels."""
    return any(part.lower() in LABEL_FOLDERS for part in place.parts)


def usual_places(folder: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yields the folders in which the label file of an image usually lies.

    Args:
        folder: The names of the folders that the image is in, from the root.

    Yields:
        Such names: ``labels`` instead of ``images``, the folder itself, ``labels`` inside it, and
        ``labels`` above it with the same folders inside.
    """
    for index in reversed(range(len(folder))):
        if folder[index].lower() in ('images', 'image', 'imgs', 'img', 'jpegimages'):
            yield from ((*folder[:index], name, *folder[index + 1 :]) for name in LABEL_FOLDERS)
    yield folder
    for index in reversed(range(len(folder) + 1)):
        yield from ((*folder[:index], name, *folder[index:]) for name in LABEL_FOLDERS)


def _is_label(line: str) -> bool:
    try:
        numbers = [float(value) for value in line.split()]
    except ValueError:
        return False
    return len(numbers) >= 5 and numbers[0] >= 0 and numbers[0].is_integer()


def _first_lines(path: Path) -> list[str]:
    """The first lines that are not empty, the last one cut; letters beyond ASCII are dropped."""
    try:
        with path.open('rb') as file:
            start = file.read(SNIFFED)
    except (OSError, ValueError):
        return []
    text = start.replace(b'\0', b'').decode('ascii', 'ignore')
    return [line for line in text.splitlines() if line.strip()]


def _rank(name: str) -> int:
    return CLASS_FILES.index(name.lower()) if name.lower() in CLASS_FILES else len(CLASS_FILES)
