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

from casvit.errors import CliError
from casvit.names import printable
from casvit.tables import TASKS
from casvit_mm.commands import arguments
from casvit_mm.commands.config import load_config
from casvit_mm.commands.data import add_data, checked, report
from casvit_mm.commands.model_scales import model_scales
from casvit_mm.datasets.faults import Severity
from casvit_mm.datasets.formats.label_map_set import wheel
from casvit_mm.datasets.map_check import MapCheck
from casvit_mm.datasets.repair import repair_objects
from casvit_mm.datasets.repair_maps import repair_maps
from casvit_mm.report.check_page import write_map_page, write_object_page

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
    print(printable(f'page: {page}'))
    if args.fix:
        repair = repair_maps if isinstance(check, MapCheck) else repair_objects
        changes = repair(check, Path(args.fix))
        listed = f'{len(changes)} changes, listed in changes.txt there'
        print(printable(f'repaired copy: {args.fix} ({listed})'))
    return 2 if check.faults.of(Severity.ERROR) else 0
