"""Fuses a trained model, so that inference is faster and gives the same results.

  casvit fuse mask_rcnn_casvit-s_fpn_1x_coco CHECKPOINT fused.pth
      folds batch norms into convolutions, and computes query and key together
  casvit test mask_rcnn_casvit-s_fpn_1x_coco fused.pth
  casvit image_demo PHOTO.jpg mask_rcnn_casvit-s_fpn_1x_coco fused.pth
      test and image_demo take the fused checkpoint with the same config

A fused model cannot be trained: keep the original checkpoint. With --fuse, test and image_demo fuse
an ordinary checkpoint themselves.
"""

from argparse import ArgumentParser

from casvit.cli import arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_size(parser)
    arguments.add_checkpoint(parser)
    arguments.add_trust(parser)
    parser.add_argument('out', metavar='OUT', help='the file to write, .pth or .safetensors')
