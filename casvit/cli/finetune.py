"""Fine-tunes a model on a folder of your own images, without writing a config.

  casvit finetune DATA --task instance --checkpoint mask_rcnn_casvit-s.pth --size s
      COCO, Pascal VOC, YOLO or LabelMe: found out, checked, split where it is not, trained
  casvit finetune DATA --task semantic --legend colours.txt
      images with semantic masks, here in colours
  casvit finetune DATA --task detection --freeze 2 --layer-decay 0.85 --epochs 30
      with the first stages as they are, and smaller steps towards them
  casvit finetune DATA --task detection --no-train
      writes the config alone; `casvit train` takes it

It writes a small config into the work dir, which is yours to edit, and chooses the batch so that
the training fits into memory. It ends with the table of classes, the best checkpoint and
images. Without --checkpoint it starts from random weights: docs/own_data.md says where the
published files are.
"""

from argparse import ArgumentParser, Namespace

from casvit.cli import arguments
from casvit.cli.loading import loading
from casvit.tables import PUBLISHED_SIZES, TASKS


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_data(parser)
    parser.add_argument('--task', choices=TASKS, required=True, help='what to learn')
    parser.add_argument(
        '--size', choices=PUBLISHED_SIZES, default='m', help='size of the model (default: m)'
    )
    parser.add_argument(
        '--config', metavar='CONFIG', help='inherit this config instead of the one of task and size'
    )
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help='weights to start from: of a detector or segmentor, or an ImageNet file',
    )
    parser.add_argument(
        '--epochs', type=arguments.positive_int, metavar='N', help='passes (default: by the data)'
    )
    parser.add_argument(
        '--image-size',
        type=arguments.positive_int,
        metavar='N',
        help='side in pixels that images are resized to, at most (default: by the data)',
    )
    parser.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        metavar='N',
        help='images in a batch (default: as many as fit into memory)',
    )
    parser.add_argument(
        '--learning-rate',
        type=arguments.above_zero,
        metavar='LR',
        help="learning rate (default: the recipe's, by the root of the batch)",
    )
    parser.add_argument(
        '--memory',
        type=arguments.gib,
        metavar='GIB',
        help='memory that the training may use (default: what is free)',
    )
    parser.add_argument(
        '--freeze',
        type=int,
        choices=range(5),
        default=0,
        metavar='N',
        help='stages that stay (0-4)',
    )
    parser.add_argument(
        '--layer-decay',
        type=arguments.rate,
        metavar='R',
        help='factor of the learning rate from each layer to the one below it',
    )
    parser.add_argument(
        '--balance', action='store_true', help='repeat images of rare classes (objects only)'
    )
    parser.add_argument('--no-ema', action='store_true', help='no moving average of the weights')
    parser.add_argument(
        '--patience',
        type=int,
        default=0,
        metavar='N',
        help='stop after N validations without progress (default: 0, never)',
    )
    parser.add_argument(
        '--val-share',
        type=arguments.fraction,
        default=0.2,
        metavar='S',
        help='share to validate on, where the data are not split (default: 0.2)',
    )
    parser.add_argument(
        '--no-train', action='store_true', help='only write the config, and say what it chose'
    )
    arguments.add_work_dir(parser)
    arguments.add_seed(parser)


def run(args: Namespace) -> int:
    """Runs the command; returns the exit code."""
    with loading('casvit finetune'):
        from casvit_mm.commands.finetune import run
    return run(args)
