"""Writes the demo data set: shapes on textured pictures, with boxes, masks and label maps.

  casvit generate_shapes
      the set that the demo configs read, where they look for it: the user's cache folder
  casvit generate_shapes --task classification
      the one of the classification demo: one shape a picture, in a folder per class
  casvit generate_shapes --out data/shapes
      the same set in a folder of your own; give it to other commands with --data-root
  casvit generate_shapes --out data/large --num-train 2000 --size 320 --seed 1
      another one
  casvit generate_shapes --out data/others --other-classes
      one with other shapes, to fine-tune a model of the first ones on (docs/own_data.md)

The same numbers give the same files. In the folder: train/ and val/ (pictures), annotations/
(COCO instances of what is visible), labels/ (label maps for segmentation: 0 is the background).
For classification: train/ and val/, in each a folder of pictures per class.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from casvit.errors import CliError
from casvit_mm.datasets import shapes, single_shapes

TASKS = {'detection': shapes, 'classification': single_shapes}


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    default = str(shapes.default_root()).replace('%', '%%')
    parser.add_argument(
        '--task',
        choices=TASKS,
        default='detection',
        help='what it is for; detection (the default) serves segmentation too',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='new or empty folder, or one with a set generated for the same task, which is '
        f'replaced (default: {default}, or beside it)',
    )
    parser.add_argument(
        '--num-train',
        type=int,
        metavar='N',
        help='pictures to train on (400; for classification 2000)',
    )
    parser.add_argument(
        '--num-val',
        type=int,
        metavar='N',
        help='pictures to validate on (100; for classification 240)',
    )
    parser.add_argument(
        '--size', type=int, metavar='PIXELS', help='side of a picture (160; for classification 64)'
    )
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='random seed (0)')
    parser.add_argument(
        '--other-classes',
        action='store_true',
        help=f'other shapes ({", ".join(shapes.OTHER_CLASSES)}); for detection, with --out',
    )


def run(args: Namespace) -> int:
    """Generates.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: Other classes are asked for where there are none, or where demos look for theirs.
        DatasetError: The folder holds something else or cannot be written, or a number is wrong.
    """
    kind = TASKS[args.task]
    out = Path(args.out) if args.out else kind.default_root()
    named = dict(num_train=args.num_train, num_val=args.num_val, size=args.size)
    options = {key: value for key, value in named.items() if value is not None}
    classes = kind.CLASSES
    if args.other_classes:
        if kind is not shapes or out.resolve() == kind.default_root().resolve():
            raise CliError(
                '--other-classes is for detection, and wants a folder of its own: --out DIR.'
            )
        options['others'], classes = True, shapes.OTHER_CLASSES
    kind.generate(out, seed=args.seed, **options)
    pictures = kind.pictures(out)
    print(f'{pictures["train"]} pictures to train on and {pictures["val"]} to validate on: {out}')
    print(f'classes: {", ".join(classes)}')
    return 0
