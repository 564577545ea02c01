"""Draws images as the model gets them from the data pipeline, with boxes, masks and labels.

  casvit browse_dataset mask_rcnn_casvit-xs_demo_shapes --number 20
  casvit browse_dataset CONFIG --data-root /data/mine --split val --out-dir look

Looking at twenty images before training reveals most mistakes in annotations and configs.
"""

from argparse import ArgumentParser

from casvit.cli import arguments
from casvit.tables import SPLITS


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_work_dir(parser)
    parser.add_argument(
        '--out-dir', metavar='DIR', help='folder for the images (default: <work dir>/browse)'
    )
    parser.add_argument(
        '--number',
        type=arguments.positive_int,
        default=16,
        metavar='N',
        help='number of images to draw, spread evenly over the dataset (default: 16)',
    )
    parser.add_argument(
        '--split',
        choices=SPLITS,
        default='train',
        help='split to draw from (default: train)',
    )
    parser.add_argument(
        '--show', action='store_true', help='also show each image in a window (needs a display)'
    )
    arguments.add_seed(parser)
    arguments.add_drawing(parser)
