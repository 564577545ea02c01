"""Which files of a dataset go into shards, and which stay files of their own."""

from collections.abc import Iterable
from pathlib import Path

from casvit.errors import DatasetError
from casvit_mm.datasets.formats.dataset import MaskDataset, ObjectDataset
from casvit_mm.datasets.formats.folders import inside
from casvit_mm.datasets.shards.write import Plan

COPY = '`casvit check DATA --fix OUT` writes a copy of which shards can be written.'


def plan_of(dataset: ObjectDataset | MaskDataset) -> Plan:
    """Plans the shards of a dataset: images and semantic masks; annotation files stay files.

    Args:
        dataset: The dataset, in COCO format or with semantic masks.

    Raises:
        DatasetError: It has another format, is not complete, or has files outside its folder.
    """
    if isinstance(dataset, MaskDataset):
        pairs = [pair for split in dataset.splits.values() for pair in split]
        files = [file for pair in pairs for file in (pair.image, pair.mask) if file]
        whole = [dataset.names_file] if dataset.names_file else []
    else:
        files, whole = _of_objects(dataset)
    if not files:
        raise DatasetError(f'The dataset {dataset.root} has no images.')
    return Plan(dataset.root, _named(files, dataset.root), _named(whole, dataset.root))


def _of_objects(dataset: ObjectDataset) -> tuple[list[Path], list[Path]]:
    for split in dataset.splits.values():
        if not split.verbatim:
            raise DatasetError(
                f'{split.file} is not a COCO file that a run can read as it is ({dataset.format}): '
                f'{COPY}'
            )
    splits = dataset.splits.values()
    images = [split.image(record) for split in splits for record in split.content['images']]
    return images, [split.file for split in splits]


def _named(files: Iterable[Path], root: Path) -> dict[str, Path]:
    """The files by their names in the dataset; one that several splits use is listed once."""
    named = {}
    for file in files:
        place = inside(root, file)
        if place is None:
            raise DatasetError(f'{file} lies outside of the dataset {root}: {COPY}')
        named[place.relative_to(root).as_posix()] = file
    return named
