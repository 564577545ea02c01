"""Checks a folder of images with labels, and says everything that is wrong with it.

  casvit check DATA
      COCO, Pascal VOC, YOLO, LabelMe, or images with semantic masks: found out
  casvit check DATA --task instance
      objects need masks as well
  casvit check DATA --fix REPAIRED
      also writes a repaired copy, with a list of every change
  casvit check DATA --no-pictures
      seconds: looks at the annotations alone

It prints what was found, and writes a page with plots and labelled images. The exit code is 2
where there are errors, and 0 where there are none; docs/data_check.md lists the kinds of issues.
"""

from argparse import ArgumentParser, Namespace

from casvit.cli import arguments
from casvit.cli.loading import loading
from casvit.tables import TASKS

DEFAULT_CONFIG = 'mask_rcnn_casvit'


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_data(parser)
    parser.add_argument('--task', choices=TASKS, help='what it is for (default: found out)')
    parser.add_argument(
        '--no-pictures',
        action='store_true',
        help='do not open the images, only see whether they are there',
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
        '--seed', type=int, default=0, metavar='N', help='which images the page shows'
    )


def run(args: Namespace) -> int:
    """Runs the command; returns the exit code."""
    with loading('casvit check'):
        from casvit_mm.commands.check_dataset import run
    return run(args)
