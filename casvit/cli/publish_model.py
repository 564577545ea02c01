"""Writes a clean checkpoint to share: only weights and class names, with a hash in the file name.

  casvit publish_model work_dirs/mine/epoch_12.pth mask_rcnn_casvit-s.pth
      writes mask_rcnn_casvit-s-1a2b3c4d.pth, a third of the size: no optimizer, no config
  casvit publish_model CHECKPOINT model.safetensors
      the same as safetensors, which cannot run code when it is loaded
  casvit publish_model CHECKPOINT model.pth --layout published
      with the weight names of the published checkpoints, for other CAS-ViT code

The new checkpoint gives exactly the same predictions. train, test, init_cfg and the other commands
take it as it is. The config is left out because it contains paths of the machine it ran on.
"""

from argparse import ArgumentParser

from casvit.cli import arguments
from casvit.tables import LAYOUTS


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_checkpoint(parser)
    arguments.add_trust(parser)
    parser.add_argument('out', metavar='OUT', help='the file to write, .pth or .safetensors')
    parser.add_argument(
        '--layout',
        choices=LAYOUTS,
        default='native',
        help="names of the weights: this package's, or those of the published checkpoints",
    )
    arguments.add_weights(parser)
