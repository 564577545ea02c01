"""Checks the dataset that a command was given, and reports the result in lines of text."""

from argparse import Namespace
from pathlib import Path

from casvit.errors import DatasetError
from casvit.names import printable
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.classes.audit import ClassAudit, audit_classes
from casvit_mm.datasets.audit.masks import MaskAudit, audit_masks
from casvit_mm.datasets.audit.near_duplicates import load_imagehash
from casvit_mm.datasets.audit.objects import ObjectAudit, audit_objects
from casvit_mm.datasets.formats.dataset import MaskDataset, ObjectDataset
from casvit_mm.datasets.formats.find import read_class_dataset, read_dataset
from casvit_mm.datasets.formats.semantic.drawing import draw_masks
from casvit_mm.datasets.issues import KINDS, IssueList
from casvit_mm.report.audit.page import class_table, mask_table, object_table, verdict

DRAWN = 'semantic_masks'
# Boxes alone are trained on and evaluated in detection.
MASKS_NEEDED = {'instance': True, 'detection': False}


def checked(
    args: Namespace, folder: Path, *, read_images: bool, near_duplicates: bool = False
) -> ObjectAudit | MaskAudit:
    """Reads the dataset that the arguments name, and checks it.

    Args:
        args: Those that :func:`casvit.cli.arguments.add_data` adds, and ``task``.
        folder: Folder for semantic masks that are drawn from objects.
        read_images: Whether to open every image.
        near_duplicates: Whether to compare the images across splits.

    Raises:
        DatasetError: There is no dataset, or it cannot be read at all.
        MissingPackageError: Near-duplicates cannot be found without `imagehash`.
    """
    if near_duplicates:
        # Before minutes of reading.
        load_imagehash()
    if args.masks_from_objects and args.task != 'semantic':
        raise DatasetError('--masks-from-objects is for --task semantic.')
    dataset = read_dataset(
        args.data,
        'instance' if args.masks_from_objects else args.task,
        kind=args.format,
        legend=args.legend,
        images=args.images,
    )
    if args.masks_from_objects and isinstance(dataset, ObjectDataset):
        dataset = draw_masks(dataset, folder / DRAWN)
    if args.legend and not isinstance(dataset, MaskDataset):
        raise DatasetError(
            f'--legend is for semantic masks, but the format of {args.data} is {dataset.format}.'
        )
    if near_duplicates and len(dataset.splits) < 2:
        dataset.notes.append('there is only one split: no near-duplicates were looked for')
    return audited(
        dataset,
        args.task,
        ignore_index=args.ignore_index,
        read_images=read_images,
        near_duplicates=near_duplicates,
    )


def checked_classes(args: Namespace, *, read_images: bool) -> ClassAudit:
    """Reads the dataset for classification that the arguments name, and checks it.

    Args:
        args: Those that :func:`casvit.cli.arguments.add_data` adds.
        read_images: Whether to open every image.

    Raises:
        DatasetError: There is no dataset, or it cannot be read at all; or an argument is for
            other tasks.
    """
    for option in ('format', 'images', 'legend', 'masks_from_objects'):
        if getattr(args, option):
            name = option.replace('_', '-')
            raise DatasetError(f'--{name} is not for --task classification: leave it out.')
    return audit_classes(read_class_dataset(args.data), read_images=read_images)


def audited(
    dataset: ObjectDataset | MaskDataset,
    task: str | None,
    *,
    ignore_index: int = IGNORE_INDEX,
    read_images: bool = True,
    near_duplicates: bool = False,
) -> ObjectAudit | MaskAudit:
    """Audits a dataset for a task.

    Args:
        dataset: The dataset.
        task: One of :data:`casvit.tables.TASKS`, or None if unknown.
        ignore_index: The value of ignored pixels in semantic masks.
        read_images: Whether to open every image.
        near_duplicates: Whether to compare the images across splits.
    """
    if isinstance(dataset, MaskDataset):
        return audit_masks(
            dataset,
            ignore_index=ignore_index,
            read_images=read_images,
            near_duplicates=near_duplicates,
        )
    return audit_objects(
        dataset,
        masks=MASKS_NEEDED.get(task or ''),
        read_images=read_images,
        near_duplicates=near_duplicates,
    )


def report(check: ObjectAudit | MaskAudit | ClassAudit, limit: int) -> list[str]:
    """Describes the result of a check in lines of text.

    Args:
        check: The check.
        limit: Number of issues to list of each kind.
    """
    dataset = check.dataset
    lines = [f'{dataset.root} ({dataset.format})']
    if isinstance(check, ObjectAudit):
        table = object_table(check)
    else:
        table = mask_table(check) if isinstance(check, MaskAudit) else class_table(check)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        first, *others = (
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append('  ' + '  '.join([first, *others]))
    changes = dataset.changes if isinstance(dataset, ObjectDataset) else []
    lines += [f'note: {note}' for note in (*changes, *dataset.notes)]
    issues: IssueList = check.issues
    for kind, count in issues.counts().items():
        known = KINDS[kind]
        lines.append(f'{known.severity.value}: {count:,} x {known.title}. {known.advice}')
        lines += [f'    {issue}' for issue in issues.first(kind, limit)]
        if count > limit:
            lines.append(f'    and {count - limit:,} more')
    lines.append(verdict(issues))
    return [printable(line) for line in lines]
