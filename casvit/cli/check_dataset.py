"""Checks a dataset and reports all of its issues.

  casvit check DATA
      COCO, Pascal VOC, YOLO, LabelMe, or images with semantic masks: detected automatically
  casvit check DATA --task instance
      also requires a segmentation mask for every object
  casvit check DATA --task classification
      images in a folder for each class, or lists of images and class indices
  casvit check DATA --fix REPAIRED
      also writes a repaired copy, with a list of every change, and checks it. Only lossless
      repairs are made; --crowd-as-objects, --boxes-from-masks, --bits and --allow-loss ask for more
  casvit check DATA --no-pictures
      takes seconds: checks only the annotations, without opening the images
  casvit check DATA --near-duplicates
      also looks for images that nearly equal one in another split

It prints a summary and writes an HTML report with plots and annotated images. The exit code is 2
if there are errors (with --fix: in the copy), else 0; docs/data_check.md lists the kinds of issues.
"""

from argparse import ArgumentParser

from casvit.cli import arguments
from casvit.tables import CHECKED_TASKS

DEFAULT_CONFIG = 'mask_rcnn_casvit'


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_data(parser)
    parser.add_argument(
        '--task',
        choices=CHECKED_TASKS,
        help='task of the dataset (default: detected automatically, except classification)',
    )
    parser.add_argument(
        '--no-pictures',
        action='store_true',
        help='do not open the images, only check that they exist',
    )
    parser.add_argument(
        '--near-duplicates',
        action='store_true',
        help='look for images that nearly equal one in another split (extra: duplicates)',
    )
    parser.add_argument(
        '--fix',
        metavar='OUT',
        help='write a repaired copy to this new folder, as COCO, semantic masks or class folders',
    )
    repairs = parser.add_argument_group('repairs that --fix makes only if asked')
    repairs.add_argument(
        '--crowd-as-objects',
        action='store_true',
        help='make ordinary objects of those with the crowd flag',
    )
    repairs.add_argument(
        '--boxes-from-masks',
        action='store_true',
        help='take the boxes of objects from their masks',
    )
    repairs.add_argument(
        '--bits',
        type=int,
        choices=range(9, 16),
        metavar='N',
        help='images of 16 bits use only N (9 to 15): scale their brightness to the full range',
    )
    repairs.add_argument(
        '--allow-loss',
        type=arguments.fraction,
        default=0.01,
        metavar='SHARE',
        help='share of images or objects that may be left out (default: 0.01)',
    )
    parser.add_argument(
        '--config',
        metavar='CONFIG',
        default=DEFAULT_CONFIG,
        help=f'detector whose anchors are compared with object sizes (default: {DEFAULT_CONFIG})',
    )
    parser.add_argument(
        '--out-dir',
        metavar='DIR',
        help='folder for the report (default: work_dirs/check_<DATA>)',
    )
    parser.add_argument(
        '--limit',
        type=arguments.positive_int,
        default=3,
        metavar='N',
        help='number of issues to print of each kind (default: 3)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        metavar='N',
        help='random seed for the images in the report (default: 0)',
    )
    arguments.add_drawing(parser)
