"""Generates the demo dataset."""

from argparse import Namespace
from pathlib import Path

from casvit.errors import CliError
from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.datasets.shapes import single as single_shapes

TASKS = {'detection': shapes, 'classification': single_shapes}


def run(args: Namespace) -> int:
    """Generates the dataset and prints a summary.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: Other classes are requested for classification, or in the folder of the demos.
        DatasetError: The folder holds other files or cannot be written, or a number is invalid.
    """
    kind = TASKS[args.task]
    out = Path(args.out) if args.out else kind.default_root()
    named = dict(num_train=args.num_train, num_val=args.num_val, size=args.size)
    options = {key: value for key, value in named.items() if value is not None}
    classes = kind.CLASSES
    if args.other_classes:
        if kind is not shapes or out.resolve() == kind.default_root().resolve():
            raise CliError(
                '--other-classes is for detection, and needs a folder of its own: --out DIR.'
            )
        options['others'], classes = True, shapes.OTHER_CLASSES
    kind.generate(out, seed=args.seed, **options)
    images = kind.images(out)
    print(f'{images["train"]} training and {images["val"]} validation images: {out}')
    print(f'classes: {", ".join(classes)}')
    return 0
