"""Opens datasets with `datumaro`: which of its readers are used, and on which files.

datumaro has readers that load pickles, archives or arrays, and detects some formats by a folder
name alone. Only the readers named here are used, each on files that were recognised first.
"""

import csv
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casvit.encodings import read_text
from casvit.errors import DatasetError
from casvit.files import is_file
from casvit.sentences import short
from casvit_mm.datasets.formats.foreign.signatures import Recognised
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.object_masks.run_lengths import MAX_PIXELS

INSTALL = "pip install 'casvit-mm[formats]'"
# Readers that take the folder of a dataset, and the folders in which the recognised files may lie.
FOLDERS = {
    'dota': (),
    'kitti_detection': ('label_2',),
    'label_me': ('Annotations',),
    'open_images': ('annotations',),
}
# Files with the display names of the classes of Open Images.
DISPLAY_NAMES = ('class-descriptions*.csv', 'oidv*-class-descriptions.csv')


@dataclass
class Source:
    """A part of a dataset as datumaro read it.

    Attributes:
        items: Its images with their annotations.
        classes: Names of the classes, by the number that annotations have for them.
        file: The file or folder that it was read from.
        left_out: Number of shapes that the library does not know, by kind.
    """

    items: list[Any]
    classes: list[str]
    file: Path
    left_out: Counter[str] = field(default_factory=Counter)


def read_sources(found: Recognised, issues: IssueList) -> Iterator[Source]:
    """Reads the files of a format.

    Args:
        found: The format and its files.
        issues: The list to which unreadable records are added.

    Yields:
        The parts of the dataset.

    Raises:
        DatasetError: datumaro is not installed, or cannot read a file.
    """
    try:
        from datumaro.components.environment import Environment
    except ImportError as error:
        raise DatasetError(
            f'The dataset is {found.signature.name} ({found.files[0]}), which is read by the '
            f'package datumaro: {INSTALL}.'
        ) from error
    plugin = found.signature.plugin
    for place in _places(found):
        try:
            context = _context(place, issues)
            if plugin == 'mot_seq':
                _check_sequence(place)
            if plugin == 'cvat':
                read = _cvat(place, context)
            else:
                extractor = Environment().extractors.get(plugin)
                reader = extractor(str(place), ctx=context, **_options(plugin, place))
                read = [_source(reader, place, _display_names(plugin, place))]
        except Exception as error:
            # Its readers raise all kinds of exceptions, also assertions, for a damaged file.
            raise DatasetError(
                f'{place} looks like {found.signature.name}, but datumaro cannot read it: '
                f'{_reason(error)}. Export the dataset as COCO, Pascal VOC or YOLO instead.'
            ) from error
        yield from read


@contextmanager
def silenced() -> Iterator[None]:
    """Hides the warnings and log messages of the library."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)


def _places(found: Recognised) -> list[Path]:
    """The files or folders that the reader of a format takes."""
    plugin = found.signature.plugin
    if plugin not in FOLDERS:
        return found.files
    folders = []
    for file in found.files:
        folder = file.parent
        for name in FOLDERS[plugin]:
            # The reader takes the folder that contains this one.
            inner = next((p for p in (folder, *folder.parents) if p.name == name), None)
            folder = inner.parent if inner else folder
        folders.append(folder)
    return list(dict.fromkeys(folders))


def _options(plugin: str, place: Path) -> dict[str, Any]:
    """Options of the reader of a format."""
    if plugin == 'dota':
        return dict(img_path=str(place.parent), subset=place.parent.name)
    return {}


def _context(place: Path, issues: IssueList) -> Any:
    """A context in which the library reports unreadable records instead of stopping at them."""
    from datumaro.components.importer import ImportContext, ImportErrorPolicy

    class Collected(ImportErrorPolicy):
        def _handle_item_error(self, error: Any) -> None:
            self._add(error)

        def _handle_annotation_error(self, error: Any) -> None:
            self._add(error)

        def _add(self, error: Any) -> None:
            name, split = error.item_id
            issues.add(
                'broken-record',
                str(split),
                str(name),
                f'cannot be read: {_reason(error.__cause__)}',
            )

    return ImportContext(error_policy=Collected())


def _cvat(file: Path, context: Any) -> list[Source]:
    """Reads CVAT's XML, one subset after the other, whether or not the images are there.

    datumaro stops at a missing image, looks for images in one place only, and refuses files without
    a task or project.
    """
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image
    from datumaro.plugins.data_formats.cvat.base import CvatBase
    from datumaro.plugins.data_formats.cvat.format import CvatPath

    class Reader(CvatBase):
        def _load_items(self, parsed: dict[str, dict[str, Any]]) -> dict[str, Any]:
            items = {}
            for frame, record in parsed.items():
                name = record.get('name') or f'frame_{int(frame):06d}.png'
                height, width = record.get('height'), record.get('width')
                size = (int(height), int(width)) if height and width else None
                items[frame] = DatasetItem(
                    # Not the name, which the library refuses if it leaves the folder.
                    id=frame,
                    attributes=dict(name=name),
                    subset=self._subset,
                    media=Image.from_file(path=str(file.parent / name), size=size),
                    annotations=record['annotations'],
                )
            return items

    subsets, left_out = _scan_cvat(file, CvatPath.SUPPORTED_IMPORT_SHAPES)
    readers = [Reader(str(file), subset=subset, ctx=context) for subset in subsets or [file.stem]]
    read = [_source(reader, file, {}) for reader in readers]
    read[0].left_out = left_out
    return read


def _source(reader: Any, file: Path, names: dict[str, str]) -> Source:
    """Reads all images of a reader; ``names`` are display names of its classes."""
    from datumaro.components.annotation import AnnotationType

    categories = reader.categories().get(AnnotationType.label, ())
    classes = [names.get(category.name, category.name) for category in categories]
    return Source(list(reader), classes, file)


def _check_sequence(file: Path) -> None:
    """Checks the number of images in a sequence of MOT, all of which the library lists.

    Raises:
        ValueError: There are more than a video has.
    """
    info = file.parent.parent / 'seqinfo.ini'
    text = read_text(info)[0] if is_file(info) else ''
    found = re.search(r'^seqlength\s*=\s*(\d+)', text, re.IGNORECASE | re.MULTILINE)
    if found and len(found[1]) > 7:
        raise ValueError(f'{info} has seqLength = {short(found[1])}')


def _scan_cvat(file: Path, known: set[str]) -> tuple[list[str], Counter[str]]:
    """The subsets in a file, and the number of shapes of kinds that the library does not know."""
    from defusedxml.ElementTree import iterparse

    subsets: dict[str, None] = {}
    of_task: list[str] = []
    left_out: Counter[str] = Counter()
    parents: list[str] = []
    for event, element in iterparse(str(file), events=('start', 'end')):
        if event == 'end':
            parents.pop()
            if element.tag == 'subset' and parents[-1:] == ['task'] and element.text:
                of_task.append(element.text)
            element.clear()
            continue
        if element.tag == 'mask':
            # Its pixels are allocated before they are read.
            pixels = int(element.get('width', 0)) * int(element.get('height', 0))
            if not 0 <= pixels <= MAX_PIXELS:
                raise ValueError(f'it has a mask of {pixels:,} pixels, which no image has')
        if element.tag in ('image', 'track') and element.get('subset'):
            subsets[element.get('subset')] = None
        inside = parents and parents[-1] in ('image', 'track')
        if inside and element.tag not in (*known, 'tag', 'attribute'):
            left_out[element.tag] += 1
        parents.append(element.tag)
    # Images have no subset in the file of a task.
    return list(subsets) or of_task[:1], left_out


def _display_names(plugin: str, folder: Path) -> dict[str, str]:
    """The names of Open Images' classes, which the library calls by their ids."""
    names: dict[str, str] = {}
    if plugin == 'open_images':
        for place in (folder / 'annotations', folder):
            for pattern in DISPLAY_NAMES:
                for path in sorted(place.glob(pattern)):
                    rows = csv.reader(read_text(path)[0].split('\n'))
                    names.update({row[0]: row[1] for row in rows if len(row) >= 2})
    return names


def _reason(error: BaseException | None) -> str:
    """The reason for an error of the library, in one line."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, KeyError):
        return f'{short(error.args[0])} is not there'
    text = ' '.join(str(error).split()).rstrip('.')
    return f'{text[:200]} ({type(error).__name__})' if text else type(error).__name__
