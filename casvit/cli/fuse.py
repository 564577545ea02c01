"""Makes a trained checkpoint faster to run: the same answers with fewer passes over memory.

  casvit fuse mask_rcnn_casvit-s_fpn_1x_coco CHECKPOINT fused.pth
      batch norms folded into convolutions, query and key computed side by side
  casvit test mask_rcnn_casvit-s_fpn_1x_coco fused.pth
  casvit image_demo PHOTO.jpg mask_rcnn_casvit-s_fpn_1x_coco fused.pth
      test and image_demo take it with the same config

A fused model cannot be trained: keep the checkpoint. test and image_demo fuse one for themselves
with --fuse.
"""

from argparse import ArgumentParser, Namespace

from casvit.cli import arguments
from casvit.cli.loading import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument('out', metavar='OUT', help='the file to write, .pth or .safetensors')


def run(args: Namespace) -> int:
    """Runs the command; returns the exit code."""
    with loading('casvit fuse'):
        from casvit_mm.commands.fuse import run
    return run(args)
