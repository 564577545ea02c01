"""A folder of data as commands take it: the check, and what it found, in lines."""

from argparse import Namespace

from casvit.errors import DatasetError
from casvit.names import printable
from casvit_mm.datasets.audit.masks import MapCheck, check_maps
from casvit_mm.datasets.audit.objects import ObjectCheck, check_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.found import MapDataset
from casvit_mm.datasets.issues import KINDS, FaultList
from casvit_mm.report.audit.page import map_table, object_table, verdict


def checked(args: Namespace, *, read_pictures: bool) -> ObjectCheck | MapCheck:
    """Reads the data set that the arguments name, and checks it.

    Args:
        args: With what :func:`casvit.cli.arguments.add_data` adds, and ``task``.
        read_pictures: Whether to open every picture.

    Raises:
        DatasetError: There is no data set, or it cannot be read at all.
    """
    dataset = read_dataset(args.data, args.task, kind=args.format, legend=args.legend)
    if isinstance(dataset, MapDataset):
        return check_maps(dataset, ignore_index=args.ignore_index, read_pictures=read_pictures)
    if args.legend:
        raise DatasetError(f'--legend is for label maps, and {args.data} is {dataset.format}.')
    return check_objects(dataset, masks=args.task == 'instance', read_pictures=read_pictures)


def report(check: ObjectCheck | MapCheck, limit: int) -> list[str]:
    """What a check found, in lines.

    Args:
        check: The check.
        limit: How many faults of each kind to name.
    """
    dataset = check.dataset
    lines = [f'{dataset.root} ({dataset.format})']
    table = map_table(check) if isinstance(check, MapCheck) else object_table(check)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        first, *others = (
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append('  ' + '  '.join([first, *others]))
    lines += [f'note: {note}' for note in dataset.notes]
    faults: FaultList = check.faults
    for kind, count in faults.counts().items():
        known = KINDS[kind]
        lines.append(f'{known.severity.value}: {count:,} x {known.title}. {known.advice}')
        lines += [f'    {fault}' for fault in faults.first(kind, limit)]
        if count > limit:
            lines.append(f'    and {count - limit:,} more')
    lines.append(verdict(faults))
    return [printable(line) for line in lines]
