"""Reads a dataset in a format of another tool."""

from pathlib import Path

from casvit.errors import DatasetError
from casvit_mm.datasets.formats.dataset import ObjectDataset
from casvit_mm.datasets.formats.folders import Folder, folders
from casvit_mm.datasets.formats.foreign.library import read_sources, silenced
from casvit_mm.datasets.formats.foreign.objects import Converter
from casvit_mm.datasets.formats.foreign.signatures import Recognised, find

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
