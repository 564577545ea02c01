"""Finds masks that crash the process when C code decodes them, before any run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit_mm.config.view import ConfigView, nested
from casvit_mm.datasets.formats.coco.file import (
    is_id,
    is_number,
    load_coco,
    without_garbage_collection,
)
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.object_masks.coding import mask_issue
from casvit_mm.datasets.places import locate
from casvit_mm.datasets.roots import is_remote, join

# Width and height of images whose records do not state them: larger than nearly all images.
UNKNOWN_SIZE = (10_000, 10_000)


def refuse_unsafe_masks(cfg: Mapping[str, Any], splits: Sequence[str]) -> None:
    """Checks all masks that the datasets and metrics of a config decode.

    Args:
        cfg: The config.
        splits: Which of its dataloaders: ``train``, ``val``, ``test``.

    Raises:
        DatasetError: A mask cannot be decoded; the message says where, and what to do.
    """
    for file in sorted({file for split in splits for file in _files_with_masks(cfg, split)}):
        refuse_unsafe_file(file)


def refuse_unsafe_file(file: str) -> None:
    """Checks all masks of an annotation file; files that are not COCO files hold none.

    Raises:
        DatasetError: A mask cannot be decoded.
    """
    try:
        content, _ = load_coco(file)
    except DatasetError:
        # A run that reads it stops with an exception.
        return
    with without_garbage_collection():
        issues = list(_unsafe(content, file))
    if issues:
        raise mask_error(issues)


def mask_error(issues: Sequence[str]) -> DatasetError:
    """The error for masks that cannot be decoded.

    Args:
        issues: A description of each.
    """
    more = f' Nor can {len(issues) - 1:,} more.' if len(issues) > 1 else ''
    return DatasetError(
        f'A mask cannot be decoded: {issues[0]}.{more} `casvit check DATA --task instance '
        '--fix OUT` lists all of them and writes a copy without them.'
    )


def loads_masks(dataset: Mapping[str, Any]) -> bool:
    """Whether a pipeline of a dataset loads masks."""
    return any(step.get('with_mask') for step in nested(dataset.get('pipeline')))


def evaluates_masks(metric: object) -> bool:
    """Whether a metric reads the masks of its annotation file, even if no pipeline loads them."""
    return isinstance(metric, Mapping) and 'segm' in (metric.get('metric') or ())


def _files_with_masks(cfg: Mapping[str, Any], split: str) -> Iterator[str]:
    view = ConfigView(cfg)
    metrics = [metric for metric in view.evaluators(split) if evaluates_masks(metric)]
    # Without a file of its own, a metric takes the masks of its dataset.
    files = [metric.get('ann_file') for metric in metrics]
    for dataset in view.datasets(split):
        if loads_masks(dataset) or metrics:
            root = str(dataset.get('data_root') or '')
            files.append(join(root, str(dataset.get('ann_file') or '')))
    for file in map(str, filter(None, files)):
        if not is_remote(file) and Path(file).is_file():
            yield file


def _unsafe(content: Mapping[str, Any], file: str) -> Iterator[str]:
    sizes = {
        record.get('id'): (record.get('width'), record.get('height'))
        for record in content['images']
        if isinstance(record, dict) and is_id(record.get('id'))
    }
    for index, record in enumerate(content.get('annotations') or []):
        if not isinstance(record, dict) or not record.get('segmentation'):
            continue
        key = record.get('image_id')
        width, height = sizes.get(key, (None, None)) if is_id(key) else (None, None)
        size: tuple[float, float] = UNKNOWN_SIZE
        if is_number(width) and is_number(height) and min(width, height) > 0:
            size = (width, height)
        mask = record['segmentation']
        if isinstance(mask, list):
            # NumPy stops at all other parts before C code sees them.
            mask = [part for part in mask if isinstance(part, list) and _is_numeric(part)]
        elif not isinstance(mask, Mapping):
            continue
        if issue := mask_issue(mask, size):
            yield str(Issue('broken-mask', *locate(file, 'annotations', index, record), issue))


def _is_numeric(values: list[Any]) -> bool:
    return set(map(type, values)) <= {int, float}
