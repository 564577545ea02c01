"""Writes the demo dataset: shapes on textured images, with boxes, masks and semantic masks.

  casvit generate_shapes
      the set that the demo configs read, where they look for it: the user's cache folder
  casvit generate_shapes --task classification
      the one of the classification demo: one shape an image, in a folder per class
  casvit generate_shapes --out data/shapes
      the same set in a folder of your own; give it to other commands with --data-root
  casvit generate_shapes --out data/large --num-train 2000 --size 320 --seed 1
      another one
  casvit generate_shapes --out data/others --other-classes
      one with other shapes, to fine-tune a model of the first ones on (docs/own_data.md)

The same numbers give the same files. In the folder: train/ and val/ (images), annotations/
(COCO instances of what is visible), labels/ (semantic masks for segmentation: 0 is the background).
For classification: train/ and val/, in each a folder of images per class.
"""

from argparse import ArgumentParser, Namespace

from casvit.cli.loading import loading
from casvit.files import cache_folder


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    default = str(cache_folder()).replace('%', '%%')
    parser.add_argument(
        '--task',
        choices=('detection', 'classification'),
        default='detection',
        help='what it is for; detection (the default) serves segmentation too',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='new or empty folder, or one with a set generated for the same task, which is '
        f'replaced (default: a folder in {default})',
    )
    parser.add_argument(
        '--num-train',
        type=int,
        metavar='N',
        help='images to train on (400; for classification 2000)',
    )
    parser.add_argument(
        '--num-val',
        type=int,
        metavar='N',
        help='images to validate on (100; for classification 240)',
    )
    parser.add_argument(
        '--size', type=int, metavar='PIXELS', help='side of an image (160; for classification 64)'
    )
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='random seed (0)')
    parser.add_argument(
        '--other-classes',
        action='store_true',
        help='other shapes, such as half, arrow and gear; for detection, with --out',
    )


def run(args: Namespace) -> int:
    """Runs the command; returns the exit code."""
    with loading('casvit generate_shapes'):
        from casvit_mm.commands.generate_shapes import run
    return run(args)
