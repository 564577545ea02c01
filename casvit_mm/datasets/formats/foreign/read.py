"""Reads a dataset in a format of another tool."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit_mm.datasets.formats.dataset import ObjectDataset
from casvit_mm.datasets.formats.folders import Folder, folders
from casvit_mm.datasets.formats.foreign.library import read_sources, silenced
from casvit_mm.datasets.formats.foreign.objects import Converter
from casvit_mm.datasets.formats.foreign.signatures import Recognised, find

# Formats of casvit that others resemble.
RESEMBLED = ('coco', 'voc')
EXPORT = 'Export the dataset as COCO, Pascal VOC or YOLO.'


def read(
    root: Path, task: str | None = None, listing: list[Folder] | None = None
) -> ObjectDataset | None:
    """Reads a dataset in a format that casvit does not read itself.

    Args:
        root: Its folder.
        task: One of :data:`casvit.tables.TASKS`; detected automatically if None.
        listing: Its folders; listed if None.

    Returns:
        The dataset; None if no format is recognised.

    Raises:
        DatasetError: The format is recognised, but cannot be read: there is no reader, `datumaro`
            is not installed, formats are mixed, the task does not fit, or a file is damaged.
    """
    listing = list(folders(root)) if listing is None else listing
    found = find(listing)
    if not found:
        return None
    chosen = _choose(root, found)
    if task == 'semantic':
        raise DatasetError(
            f'{root} is {chosen.signature.name} ({chosen.files[0]}), which holds objects: use '
            '--task detection or --task instance.'
        )
    dataset = ObjectDataset(chosen.signature.name, root, {})
    converter = Converter(dataset, chosen.signature.plugin, listing)
    with silenced():
        for source in read_sources(chosen, dataset.issues):
            converter.add(source)
    converter.finish(chosen.files[0])
    return dataset


def readable(listing: Iterable[Folder]) -> bool:
    """Whether a format is recognised that :func:`read` reads."""
    return any(each.signature.plugin for each in find(listing))


def disclaim(found: Mapping[str, list[Any]], listing: Iterable[Folder]) -> dict[str, list[Any]]:
    """Takes from casvit's own readers the files that only look like theirs.

    Datumaro JSON resembles COCO, and the XML of the first LabelMe resembles Pascal VOC.

    Args:
        found: The files, or folders of files, that each reader found, by the name of the format.
        listing: The folders of the dataset.

    Returns:
        What is left for each reader.
    """
    foreign = {file for each in find(listing) for file in each.files}

    def is_own(place: Any) -> bool:
        files = place.ending_in('.xml') if isinstance(place, Folder) else [place]
        return foreign.isdisjoint(files)

    left = {
        name: [place for place in places if name not in RESEMBLED or is_own(place)]
        for name, places in found.items()
    }
    return {name: places for name, places in left.items() if places}


def _choose(root: Path, found: list[Recognised]) -> Recognised:
    """The format to read.

    Raises:
        DatasetError: There is not exactly one that can be read.
    """
    readable = [each for each in found if each.signature.plugin]
    if len({each.signature.plugin for each in readable}) > 1:
        places = ', '.join(f'{each.signature.name} ({each.files[0]})' for each in readable)
        raise DatasetError(
            f'{root} holds annotations in more than one format: {places}. Keep one of them.'
        )
    if readable:
        files = [file for each in readable for file in each.files]
        return Recognised(readable[0].signature, files)
    name, file = found[0].signature.name, found[0].files[0]
    if name.startswith('pickled'):
        raise DatasetError(
            f'{file} is {name}, which is never loaded, since it can run any code. {EXPORT}'
        )
    raise DatasetError(f'{root} is {name} ({file}), a format that is not supported. {EXPORT}')
