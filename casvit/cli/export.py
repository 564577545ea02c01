"""Exports a trained model, so that it runs without PyTorch, and proves that it answers the same.

  casvit export mask_rcnn_casvit-s_fpn_1x_coco CHECKPOINT --format onnx
      writes CHECKPOINT.onnx for images of one size: the fastest form
  casvit export mask_rcnn_casvit-s_fpn_1x_coco CHECKPOINT --format onnx --dynamic
      for images of any size, which are resized as in the test pipeline of the config
  casvit export mask_rcnn_casvit-s_fpn_1x_coco CHECKPOINT --format openvino --size 512 640
      for images that are resized to fit into 512 x 640 pixels (height, width), and padded
  casvit export mask_rcnn_casvit-s_fpn_1x_coco CHECKPOINT --size 512 640 --resize
      the same, but resizing and padding are in the file: it takes any image as it is

The model is fused first. Its input is uint8 RGB: normalisation, decoding, suppression of
overlapping boxes and masks are in the file, as far as the format can hold them: for ncnn,
ExecuTorch and Core ML the Predictor decodes boxes, as it does with --raw, and there are no masks.
Then the file is run beside PyTorch on a sample image, and the differences are printed; if they are
larger than rounding explains, the file is removed.

To use the file: casvit.Predictor(FILE), which needs neither PyTorch nor OpenMMLab for ONNX,
OpenVINO and ncnn.
"""

from argparse import ArgumentParser

from casvit.cli import arguments
from casvit.exported.formats import FORMATS


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument(
        '--format', choices=FORMATS, default='onnx', help='format of the file (default: onnx)'
    )
    parser.add_argument(
        '--size',
        '--image-size',
        dest='image_size',
        nargs='+',
        type=arguments.positive_int,
        metavar='N',
        help='height and width of the input in pixels; one number for a square (default: those '
        'of the test pipeline)',
    )
    parser.add_argument(
        '--dynamic',
        action='store_true',
        help='take images of any size; segmentors and classifiers also batches of any size',
    )
    parser.add_argument(
        '--resize',
        action='store_true',
        help='resize and pad images inside the file, so that programs without casvit give it '
        'images of any size, and get boxes in pixels of them',
    )
    parser.add_argument(
        '--half',
        action='store_true',
        help='store weights, and compute where the device can, in fp16: half the size',
    )
    parser.add_argument(
        '--raw',
        action='store_true',
        help='leave decoding and suppression of boxes out of the file; the Predictor does them',
    )
    parser.add_argument(
        '--sample',
        metavar='IMAGE',
        help='the image on which the file is compared with PyTorch (default: a generated one)',
    )
    arguments.add_weights(parser)
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='the file to write (default: beside the checkpoint, with the suffix of the format)',
    )
    arguments.add_trust(parser)
