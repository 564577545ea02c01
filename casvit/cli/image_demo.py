"""Detects, segments or classifies: an image, a folder of images, or a video.

  casvit image_demo photo.jpg CONFIG CHECKPOINT --out-dir out
  casvit image_demo photos/ CONFIG CHECKPOINT --score-thr 0.5 --batch-size 4
  casvit image_demo street.mp4 CONFIG CHECKPOINT --device cuda
  casvit image_demo street.mp4 CONFIG CHECKPOINT --fuse --compile
      the same answers, sooner: the compiler takes a minute or more once
  casvit image_demo aerial.png CONFIG CHECKPOINT --tile 1024 --overlap 256
      an image too large to be seen at once, in overlapping tiles; what is found twice is
      reported once. Objects larger than the overlap may come out in pieces.

Per input, the out dir gets an image (or a video) with the result drawn on it, and a JSON list:
  detection       {file, label, score, bbox: [x1, y1, x2, y2], mask: COCO's run-length code}
  segmentation    {file, label, index, pixels, share} per class; NAME_labels.png holds the indices
  classification  {file, label, index, score} of the best 5 classes
A video's records also have the number of the frame.

In a folder, images that cannot be read, predicted or written are skipped and listed at the end with
the reasons; the exit code is then 1. An image given by itself that fails is an error (exit code 2).
"""

from argparse import ArgumentParser, Namespace

from casvit.cli import arguments
from casvit.cli.loading import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument('input', metavar='INPUT', help='image, folder of images, or video')
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument(
        '--out-dir', metavar='DIR', default='outputs', help='for the results (default: outputs)'
    )
    parser.add_argument(
        '--score-thr',
        type=arguments.fraction,
        default=0.3,
        metavar='S',
        help='leave out detections below this score (default: 0.3)',
    )
    parser.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        default=1,
        metavar='N',
        help='images, frames or tiles at once (default: 1)',
    )
    parser.add_argument(
        '--tile',
        type=arguments.positive_int,
        metavar='SIZE',
        help='look at tiles of this side, in pixels, instead of the whole image',
    )
    parser.add_argument(
        '--overlap',
        type=int,
        metavar='PIXELS',
        help='of neighbouring tiles, at least the size of an object (default: a quarter tile)',
    )
    arguments.add_acceleration(parser)
    arguments.add_device(parser)


def run(args: Namespace) -> int:
    """Runs the command; returns the exit code."""
    with loading('casvit image_demo'):
        from casvit_mm.commands.image_demo import run
    return run(args)
