"""Checks a folder of pictures with labels, and says everything that is wrong with it.

  casvit check DATA
      COCO, Pascal VOC, YOLO, LabelMe, or pictures with label maps: found out
  casvit check DATA --task instance
      objects need masks as well
  casvit check DATA --fix REPAIRED
      also writes a repaired copy, with a list of every change
  casvit check DATA --no-pictures
      seconds: looks at the annotations alone

It prints what was found, and writes a page with plots and labelled pictures. The exit code is 2
where there are errors, and 0 where there are none; docs/data_check.md lists the kinds of faults.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from casvit_mm.cli import arguments
from casvit_mm.cli.config import load_config
from casvit_mm.cli.errors import CliError
from casvit_mm.cli.model_scales import model_scales
from casvit_mm.datasets.errors import DatasetError
from casvit_mm.datasets.faults import KINDS, FaultList, Severity
from casvit_mm.datasets.formats.find import FORMATS, TASKS, read_dataset
from casvit_mm.datasets.formats.found import MapDataset
from casvit_mm.datasets.formats.label_map_set import wheel
from casvit_mm.datasets.label_maps import IGNORED
from casvit_mm.datasets.map_check import MapCheck, check_maps
from casvit_mm.datasets.object_check import ObjectCheck, check_objects
from casvit_mm.datasets.repair import repair_objects
from casvit_mm.datasets.repair_maps import repair_maps
from casvit_mm.report.check_page import (
    map_table,
    object_table,
    verdict,
    write_map_page,
    write_object_page,
)

DEFAULT_CONFIG = 'mask_rcnn_casvit'


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_data(parser)
    parser.add_argument('--task', choices=TASKS, help='what it is for (default: found out)')
    parser.add_argument(
        '--no-pictures',
        action='store_true',
        help='do not open the pictures, only see whether they are there',
    )
    parser.add_argument(
        '--fix', metavar='OUT', help='write a repaired copy into this new folder, as COCO or masks'
    )
    parser.add_argument(
        '--config',
        metavar='CONFIG',
        default=DEFAULT_CONFIG,
        help=f'detector whose anchors object sizes are drawn against (default: {DEFAULT_CONFIG})',
    )
    parser.add_argument(
        '--out-dir', metavar='DIR', help='where the page goes (default: work_dirs/check_<DATA>)'
    )
    parser.add_argument(
        '--limit',
        type=arguments.positive_int,
        default=3,
        metavar='N',
        help='how many of each kind to print (default: 3)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, metavar='N', help='which pictures the page shows'
    )


def add_data(parser: ArgumentParser) -> None:
    """DATA, and how it is to be read: what every command that takes a folder of data has."""
    parser.add_argument('data', metavar='DATA', help='folder of the data set, or a COCO file')
    parser.add_argument(
        '--format',
        choices=FORMATS,
        help='where it holds more than one (default: found out)',
    )
    parser.add_argument(
        '--legend', metavar='FILE', help='names, or colours and names, of the classes of label maps'
    )
    parser.add_argument(
        '--ignore-index',
        type=int,
        default=IGNORED,
        metavar='N',
        help=f'the value of label maps that does not count (default: {IGNORED})',
    )


def run(args: Namespace) -> int:
    """Checks.

    Args:
        args: The parsed arguments.

    Returns:
        2 where the data set has errors, else 0.

    Raises:
        DatasetError: There is no data set, or it cannot be read at all.
        CliError: The arguments do not go together.
    """
    if args.fix and args.no_pictures:
        raise CliError('--fix has to open the pictures: leave --no-pictures out.')
    check = checked(args, read_pictures=not args.no_pictures)
    for line in report(check, args.limit):
        print(line)
    name = Path(args.data).expanduser().resolve().stem
    page = Path(args.out_dir or Path('work_dirs') / f'check_{name}') / 'index.html'
    if isinstance(check, MapCheck):
        write_map_page(check, page, args.seed)
    else:
        scales = model_scales(load_config(args.config))
        palette = [wheel(index) for index in range(len(check.classes))]
        write_object_page(check, page, palette, scales, args.seed)
    print(f'page: {page}')
    if args.fix:
        repair = repair_maps if isinstance(check, MapCheck) else repair_objects
        changes = repair(check, Path(args.fix))
        print(f'repaired copy: {args.fix} ({len(changes)} changes, listed in changes.txt there)')
    return 2 if check.faults.of(Severity.ERROR) else 0


def checked(args: Namespace, *, read_pictures: bool) -> ObjectCheck | MapCheck:
    """Reads the data set that the arguments name, and checks it.

    Args:
        args: With what :func:`add_data` adds, and ``task``.
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
    return lines
