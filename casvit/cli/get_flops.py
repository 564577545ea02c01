"""Counts parameters and multiply-accumulates (MACs) of a model and its backbone.

  casvit get_flops mask_rcnn_casvit --size s
  casvit get_flops casvit-m_8xb128_in1k
  casvit get_flops retinanet_casvit --shape 512 512

One MAC is one multiplication and one addition; the "FLOPs" of many papers, and of mmengine, are
MACs. Convolutions, linear layers, matrix products and normalisation are counted; activations,
RoI pooling and non-maximum suppression are not. The heads of a two-stage detector run once per
proposal: they are counted for the number of proposals that is printed below the table.
"""

from argparse import ArgumentParser

from casvit.cli import arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_size(parser)
    parser.add_argument(
        '--shape',
        nargs=2,
        type=arguments.positive_int,
        metavar=('H', 'W'),
        help='size of the input (default: the crop of a classifier or segmentor, such as 224 224 '
        'or 512 512; the scale of a detector, with 800 1280 for (1333, 800))',
    )
