"""Trains a model from a config.

  casvit train mask_rcnn_casvit-xs_demo_shapes
      the demo, on generated images: takes minutes on a CPU
  casvit train mask_rcnn_casvit-m_fpn_1x_coco --data-root /data/coco --auto-scale-lr
      the published recipe on one GPU, from the weights of `casvit weights get cas-vit-m`
  casvit train mask_rcnn_casvit --size s
      the same config with a backbone of another size
  casvit train CONFIG --from-scratch
      without pretrained weights
  casvit train CONFIG --resume
      continues from the newest whole checkpoint of the work dir
  casvit train CONFIG --overwrite
      starts again in a work dir that has checkpoints of a run
  tools/dist_train.sh CONFIG 8
      on 8 GPUs

A run writes its log, config, checkpoints and a few validation images to its work dir. The terminal
shows a summary, progress and results; the log file has the details.
"""

from argparse import ArgumentParser

from casvit.cli import arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_size(parser)
    arguments.add_work_dir(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='FILE',
        help='continue a run: from FILE, or from the newest whole checkpoint of the work dir',
    )
    arguments.add_overwrite(parser)
    arguments.add_trust(parser)
    parser.add_argument(
        '--from-scratch',
        action='store_true',
        help='train without the pretrained backbone (and with norm_eval=False)',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: float16 on a GPU, bfloat16 on a CPU',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by this run's batch size over the recipe's",
    )
    parser.add_argument(
        '--no-data-check',
        action='store_true',
        help='skip the check of the data before training; masks that would crash the process are '
        'refused all the same',
    )
    arguments.add_drawing(parser)
    arguments.add_seed(parser)
    arguments.add_quiet(parser)
    arguments.add_launcher(parser)
