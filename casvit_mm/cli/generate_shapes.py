"""Writes the demo data set: shapes on textured pictures, with boxes, masks and label maps.

  casvit generate_shapes
      the set that the demo configs read, where they look for it: the user's cache folder
  casvit generate_shapes --out data/shapes
      the same set in a folder of your own; give it to other commands with --data-root
  casvit generate_shapes --out data/large --num-train 2000 --size 320 --seed 1
      another one

The same numbers give the same files. In the folder: train/ and val/ (pictures), annotations/
(COCO instances of what is visible), labels/ (label maps for segmentation: 0 is the background).
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from casvit_mm.datasets import shapes


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    default = str(shapes.default_root()).replace('%', '%%')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='new or empty folder, or one with a generated set, which is replaced '
        f'(default: {default})',
    )
    parser.add_argument(
        '--num-train', type=int, default=400, metavar='N', help='pictures to train on (400)'
    )
    parser.add_argument(
        '--num-val', type=int, default=100, metavar='N', help='pictures to validate on (100)'
    )
    parser.add_argument(
        '--size', type=int, default=160, metavar='PIXELS', help='side of a picture (160)'
    )
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='random seed (0)')


def run(args: Namespace) -> int:
    """Generates.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        DatasetError: The folder holds something else or cannot be written, or a number is wrong.
    """
    out = Path(args.out) if args.out else shapes.default_root()
    shapes.generate(
        out, num_train=args.num_train, num_val=args.num_val, size=args.size, seed=args.seed
    )
    print(f'{args.num_train} pictures to train on and {args.num_val} to validate on: {out}')
    print(f'classes: {", ".join(shapes.CLASSES)}')
    return 0
