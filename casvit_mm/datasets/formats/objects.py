"""Collects the objects of formats with one annotation file per image in the form of COCO."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from casvit.errors import DatasetError
from casvit.sentences import count_of, some
from casvit.tables import SPLITS
from casvit_mm.datasets.formats.coco.file import without_garbage_collection
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectDataset, ObjectSplit, split_of
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.object_masks.coding import mask_area, mask_bounds
from casvit_mm.datasets.semantic_masks import upright_size


@dataclass(frozen=True)
class Labelled:
    """An image and its annotation files.

    Attributes:
        image: The image.
        files: Its annotations; none for a background image.
    """

    image: Path
    files: tuple[Path, ...] = ()


class FoundObject(NamedTuple):
    """One object of an annotation file.

    Attributes:
        name: Name of its class, as written.
        place: Its place in the file: ``line 3``.
        box: Its box ``x, y, width, height`` in pixels; None for the bounds of its mask.
        segmentation: Its polygons, or its mask as run lengths, as COCO stores them.
    """

    name: str
    place: str
    box: list[float] | None = None
    segmentation: list[list[float]] | dict[str, Any] | None = None


@dataclass
class Objects:
    """The content of an annotation file.

    Attributes:
        found: Its objects.
        others: Regions that belong to no class: background, or to be ignored.
        size: Width and height that the file states; None if it states none.
    """

    found: list[FoundObject] = field(default_factory=list)
    others: list[FoundObject] = field(default_factory=list)
    size: tuple[int, int] | None = None


# Reads the file of an image of a given width and height; adds issues to the list.
Reader = Callable[[Path, tuple[int, int], IssueList], Objects]


class Classes:
    """The classes of a dataset, in the order in which they are added.

    White space around names is removed; names that become equal are one class.

    Args:
        names: Names that are known already.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.numbers: dict[str, int] = {}
        self.sources: dict[str, dict[str, str]] = {}
        self._as_written: dict[str, int] = {}
        self._repeated: dict[str, None] = {}
        for name in names:
            if name in self._as_written:
                self._repeated[_stripped(name)] = None
            self.number(name)

    def number(self, name: str, source: Mapping[str, str] | None = None) -> int:
        """The number of a class, from 1; a new one is added, with the record that introduces it."""
        if name in self._as_written:
            return self._as_written[name]
        stripped = _stripped(name)
        if stripped not in self.numbers:
            self.numbers[stripped] = len(self.numbers) + 1
            if source is not None:
                self.sources[stripped] = dict(source)
        self._as_written[name] = self.numbers[stripped]
        return self._as_written[name]

    def notes(self) -> list[str]:
        """Says which names were changed, and which classes were joined."""
        spaced = [name for name in self._as_written if name != _stripped(name)]
        entries = Counter(map(_stripped, self._as_written))
        joined = sorted({name for name in entries if entries[name] > 1} | {*self._repeated})
        found = []
        if spaced:
            found.append(f'Class names are read without the white space around {some(spaced)}.')
        if joined:
            found.append(f'Classes of the same name are one class: {some(joined)}.')
        return found


class Images:
    """The images of a dataset, to find the one that an annotation file belongs to.

    Args:
        root: Folder of the dataset.
        listing: All its folders; drawings of annotations are left out.
    """

    def __init__(self, root: Path, listing: Iterable[Folder]) -> None:
        self.root = root
        self.paths: dict[Path, None] = {}
        self._by_folder: dict[Path, dict[str, list[Path]]] = {}
        self._stems: set[str] = set()
        self._ranked: dict[Path, list[Path]] = {}
        for folder in listing:
            if any(map(_is_drawn, folder.path.relative_to(root).parts)):
                continue
            for path in folder.images:
                self.paths[path] = None
                self._by_folder.setdefault(folder.path, {}).setdefault(path.stem, []).append(path)
                self._stems.add(path.stem)

    def closest(
        self, name: str, folder: Path, allowed: Callable[[Path], bool] = lambda _: True
    ) -> Path | None:
        """The image that a file of a name belongs to, if there is one.

        Args:
            name: Name of the image, or of the annotation file without its suffix.
            folder: The folder of that file, inside the root.
            allowed: Which images are considered.

        Returns:
            The image of this name, or else of this stem, in the folder whose path has most in
            common; never that of another split.
        """
        for stem, whole in ((Path(name).stem, True), (name, False)):
            if stem not in self._stems:
                continue
            for place in self._by_closeness(folder):
                for path in self._by_folder[place].get(stem, ()):
                    if (path.name == name or not whole) and allowed(path):
                        return path
        return None

    def _by_closeness(self, folder: Path) -> list[Path]:
        """The folders of images that may belong to a folder of annotations, closest first."""
        if folder not in self._ranked:
            own = self._parts(folder)
            split, words = split_of(*own), {part.lower() for part in own}
            ranks = []
            for number, place in enumerate(self._by_folder):
                parts = self._parts(place)
                other = split_of(*parts)
                if other == split or UNSPLIT in (other, split):
                    shared = len(words & {part.lower() for part in parts})
                    ranks.append((parts != own, -shared, len(parts), number, place))
            self._ranked[folder] = [place for *_, place in sorted(ranks)]
        return self._ranked[folder]

    def split(self, path: Path, *others: Path) -> str:
        """The split that the folder of an image names, or else that of its annotation files."""
        for place in (path, *others):
            if (name := split_of(*self._parts(place.parent))) != UNSPLIT:
                return name
        return UNSPLIT

    def _parts(self, folder: Path) -> tuple[str, ...]:
        return folder.relative_to(self.root).parts


def read_splits(
    dataset: ObjectDataset,
    by_split: Mapping[str, list[Labelled]],
    read: Reader,
    classes: Classes,
    source: Path,
    order: Callable[[str], Any] | None = None,
) -> None:
    """Reads the splits of a dataset.

    Args:
        dataset: The dataset, to which the splits, issues and notes are added.
        by_split: Images by split.
        read: Reads an annotation file.
        classes: The classes, to which new ones are added.
        source: The file or folder that the dataset is read from.
        order: Sorts the classes by this key, if their order has no meaning.
    """
    with without_garbage_collection():
        for name in [name for name in (*SPLITS, UNSPLIT) if name in by_split]:
            content = _as_coco(by_split[name], dataset.root, read, classes, dataset.issues)
            dataset.splits[name] = ObjectSplit(content, source, dataset.root)
    names = list(classes.numbers)
    ordered = sorted(names, key=order) if order else names
    places = {name: number for number, name in enumerate(ordered, 1)}
    numbers = {classes.numbers[name]: number for name, number in places.items()}
    for split in dataset.splits.values():
        split.content['categories'] = [
            dict(
                id=number,
                name=name,
                **(dict(source=classes.sources[name]) if name in classes.sources else {}),
            )
            for name, number in places.items()
        ]
        for annotation in split.content['annotations']:
            annotation['category_id'] = numbers[annotation['category_id']]
    dataset.notes += classes.notes()
    several = [one.image for images in by_split.values() for one in images if len(one.files) > 1]
    if several:
        dataset.notes.append(
            f'{count_of(len(several), "image")} with several annotation files, such as '
            f'{several[0]}: all are read.'
        )


def _as_coco(
    labelled_images: Iterable[Labelled],
    root: Path,
    read: Reader,
    classes: Classes,
    issues: IssueList,
) -> dict[str, Any]:
    """Collects images and their objects.

    Annotations have a ``source``, images their ``annotation_files`` and the ``other_regions``.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for labelled in labelled_images:
        try:
            size = upright_size(labelled.image)
        except DatasetError:
            # The audit of the images reports why.
            size = None
        key = len(images) + 1
        stated = None
        others: list[FoundObject] = []
        for file in labelled.files:
            if size is None:
                break
            objects = read(file, size, issues)
            stated = stated or objects.size
            others += objects.others
            for found in objects.found:
                source = dict(file=str(file), record=found.place)
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=key,
                        category_id=classes.number(found.name, source),
                        **_geometry(found),
                        iscrowd=0,
                        source=source,
                    )
                )
        width, height = stated or size or (1, 1)
        name = labelled.image.relative_to(root).as_posix()
        record: dict[str, Any] = dict(id=key, file_name=name, width=width, height=height)
        if others:
            record['other_regions'] = [
                dict(name=other.name, segmentation=other.segmentation) for other in others
            ]
        images.append({**record, 'annotation_files': [str(file) for file in labelled.files]})
    return dict(images=images, annotations=annotations)


def _geometry(found: FoundObject) -> dict[str, Any]:
    """Box, area and segmentation of an object."""
    box = found.box
    if not found.segmentation:
        box = box or [0.0, 0.0, 0.0, 0.0]
        return dict(bbox=box, area=box[2] * box[3])
    if box is None:
        x1, y1, x2, y2 = mask_bounds(found.segmentation) or (0.0, 0.0, 0.0, 0.0)
        box = [x1, y1, x2 - x1, y2 - y1]
    area = mask_area(found.segmentation)
    return dict(bbox=box, area=area, segmentation=found.segmentation)


def _stripped(name: str) -> str:
    """A class name without surrounding white space, and without marks left by joined files."""
    return name.strip().strip('\ufeff').strip()


def _is_drawn(name: str) -> bool:
    """Whether a folder holds drawings of annotations or semantic masks, rather than images."""
    name = name.lower()
    drawn = name.endswith(('visualization', 'visualisation'))
    return drawn or name.startswith(('segmentationclass', 'segmentationobject'))
