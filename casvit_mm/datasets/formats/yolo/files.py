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
    """Whether the first line of a file is a class number and at least four numbers."""
    values = _first_line(path).split()
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return False
    return len(numbers) >= 5 and numbers[0] >= 0 and numbers[0].is_integer()


def lists_images(path: Path) -> bool:
    """Whether the first line of a file is the name of an image."""
    line = _first_line(path).strip()
    return PureWindowsPath(line).suffix.lower() in IMAGES


def class_files(listing: Iterable[Folder]) -> list[Path]:
    """The files that name classes, one per line, best first."""
    found = [
        (_rank(name), len(folder.path.parts), folder.path / name)
        for folder in listing
        for name in folder.names
        if name.lower() in CLASS_FILES or name.lower().endswith('.names')
    ]
    return [path for _, _, path in sorted(found) if not looks_like_label(path)]


def label_folders(listing: Iterable[Folder], stems: Iterable[str] | None = None) -> list[Folder]:
    """The folders that hold label files.

    Args:
        listing: All folders.
        stems: Names of files that count, without suffix; all if None.
    """
    wanted = None if stems is None else set(stems)
    found = []
    for folder in listing:
        paths = [p for p in folder.ending_in('.txt') if wanted is None or p.stem in wanted]
        sample = paths[:: max(1, len(paths) // LOOKED_INTO)]
        if any(map(looks_like_label, sample)):
            found.append(folder)
    return found


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


def _first_line(path: Path) -> str:
    """The first line that is not empty, as far as it is read; letters beyond ASCII are dropped."""
    try:
        with path.open('rb') as file:
            start = file.read(SNIFFED)
    except (OSError, ValueError):
        return ''
    text = start.replace(b'\0', b'').decode('ascii', 'ignore')
    return next((line for line in text.splitlines() if line.strip()), '')


def _rank(name: str) -> int:
    return CLASS_FILES.index(name.lower()) if name.lower() in CLASS_FILES else len(CLASS_FILES)
