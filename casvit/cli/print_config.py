"""Prints a config as a run would see it: bases merged, options applied.

  casvit print_config mask_rcnn_casvit
  casvit print_config mask_rcnn_casvit --size s
  casvit print_config mask_rcnn_casvit --cfg-options model.backbone.drop_path_rate=0.2
  casvit print_config mask_rcnn_casvit --out base.py
      writes it to one file without bases, from which you can inherit: _base_ = 'base.py'

--cfg-options can change every key that it prints.
"""

from argparse import ArgumentParser

from casvit.cli import arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_size(parser)
    parser.add_argument(
        '--out',
        '--save-path',
        metavar='FILE',
        help='write it to this file instead: .py, .json or .yaml',
    )
