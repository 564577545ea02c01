"""Runs inference on an image, a folder of images, or a video.

  casvit image_demo photo.jpg CONFIG CHECKPOINT --out-dir out
  casvit image_demo photos/ CONFIG CHECKPOINT --score-thr 0.5 --batch-size 4
  casvit image_demo street.mp4 CONFIG CHECKPOINT --device cuda
  casvit image_demo street.mp4 CONFIG CHECKPOINT --fuse --compile
      the same results, faster: compilation takes a minute or more once
  casvit image_demo aerial.png CONFIG CHECKPOINT --tile 1024 --overlap 256
      a very large image, in overlapping tiles; an object found in two tiles is reported once.
      Objects larger than the overlap may come out in pieces.

For each input, the out dir gets an image (or a video) with the result drawn on it, small images
enlarged, and a JSON list in pixels of the input:
  detection       {file, label, score, bbox: [x1, y1, x2, y2], mask: COCO's run-length code}
  segmentation    {file, label, index, pixels, share} per class; NAME_labels.png holds the indices
  classification  {file, label, index, score} of the best 5 classes
Records of a video also have the frame number.

Images of a folder that cannot be read, predicted or written are skipped and listed at the end with
the reasons; the exit code is then 1. If a single image fails, that is an error (exit code 2).
"""

from argparse import ArgumentParser

from casvit.cli import arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument('input', metavar='INPUT', help='image, folder of images, or video')
    arguments.add_config(parser)
    arguments.add_size(parser)
    arguments.add_checkpoint(parser)
    arguments.add_trust(parser)
    parser.add_argument(
        '--out-dir', metavar='DIR', default='outputs', help='output folder (default: outputs)'
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
        help='images, frames or tiles per batch (default: 1)',
    )
    parser.add_argument(
        '--tile',
        type=arguments.positive_int,
        metavar='SIZE',
        help='predict tiles of this side, in pixels, instead of the whole image',
    )
    parser.add_argument(
        '--overlap',
        type=int,
        metavar='PIXELS',
        help='overlap of tiles, at least the size of an object (default: a quarter of a tile)',
    )
    arguments.add_acceleration(parser)
    arguments.add_device(parser)
    arguments.add_drawing(parser)
