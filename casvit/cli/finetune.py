"""Fine-tunes a model on a folder of your own images, without writing a config.

  casvit finetune DATA --checkpoint mask_rcnn_casvit-s.pth
      COCO, Pascal VOC, YOLO or LabelMe: the dataset is checked, split if needed, and trained on.
      Task, size and model are those of the checkpoint
  casvit finetune DATA --checkpoint mask_rcnn_casvit-s.pth --minutes 10
      trains for ten minutes at most
  casvit finetune DATA --task detection --checkpoint cas-vit-s.pth
      starts from ImageNet weights
  casvit finetune DATA --task semantic --legend colours.txt
      images with semantic masks, here in colours
  casvit finetune DATA --task classification --checkpoint cas-vit-xs.pth
      images in one folder per class
  casvit finetune DATA --checkpoint FILE --freeze 2 --layer-decay 0.85 --epochs 30
      freezes the first stages, and lowers the learning rate from layer to layer
  casvit finetune DATA --task detection --no-train
      only writes the config, for `casvit train`

It says what it keeps of the checkpoint, writes a small config to the work dir, which you can edit,
chooses the batch size so that training fits into memory, and says how long training will take. It
ends with a table of results by class, predictions drawn on images, and a checkpoint to use,
model.pth. Without --checkpoint it starts from random weights; docs/own_data.md says where to find
the published checkpoints.
"""

from argparse import ArgumentParser

from casvit.cli import arguments
from casvit.tables import CHECKED_TASKS, PUBLISHED_SIZES


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_data(parser)
    parser.add_argument(
        '--task',
        choices=CHECKED_TASKS,
        help="task of the model (default: that of the checkpoint or of --config's model)",
    )
    parser.add_argument(
        '--size',
        choices=PUBLISHED_SIZES,
        help='size of the model (default: that of the checkpoint; m without one)',
    )
    parser.add_argument(
        '--heads',
        choices=('standard', 'light'),
        help='heads of the model, if it is not that of the checkpoint: those of the published '
        'results, or smaller ones that are faster (default: light without a GPU)',
    )
    parser.add_argument(
        '--config',
        metavar='CONFIG',
        help='config to inherit from, of any detector, segmentor or classifier with a CAS-ViT, or '
        'one of configs/baselines (default: the one in the checkpoint, or the one for task, size '
        'and heads)',
    )
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help='checkpoint to start from: a detector, a segmentor, a classifier, or ImageNet weights',
    )
    arguments.add_trust(parser)
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        '--epochs',
        type=arguments.positive_int,
        metavar='N',
        help='number of epochs (default: depends on the data)',
    )
    length.add_argument(
        '--minutes',
        type=arguments.positive_int,
        metavar='N',
        help='as many epochs as take no longer than this, by the measured time of a step, and no '
        'more than the default; with smaller images if only a few steps fit',
    )
    parser.add_argument(
        '--image-size',
        type=arguments.positive_int,
        metavar='N',
        help='largest side that images are resized to, in pixels (default: depends on the data, '
        'and on --minutes)',
    )
    parser.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        metavar='N',
        help='images per batch (default: as many as fit into memory)',
    )
    parser.add_argument(
        '--learning-rate',
        type=arguments.above_zero,
        metavar='LR',
        help="learning rate (default: the recipe's, scaled by the square root of the batch size)",
    )
    parser.add_argument(
        '--memory',
        type=arguments.gib,
        metavar='GIB',
        help='memory that training may use (default: the free memory)',
    )
    parser.add_argument(
        '--freeze',
        type=int,
        choices=range(5),
        default=0,
        metavar='N',
        help='freeze the stem and the first N stages, 1 to 4 (default: 0, which freezes nothing)',
    )
    parser.add_argument(
        '--layer-decay',
        type=arguments.rate,
        metavar='R',
        help='factor of the learning rate from each layer to the layer below it',
    )
    parser.add_argument(
        '--balance',
        action='store_true',
        help='repeat images of rare classes (detection and instance segmentation)',
    )
    parser.add_argument(
        '--no-augmentation',
        action='store_true',
        help='train on the images as they are, only resized',
    )
    parser.add_argument(
        '--no-ema', action='store_true', help='train without a moving average of the weights'
    )
    parser.add_argument(
        '--patience',
        type=int,
        default=0,
        metavar='N',
        help='stop after N validations without improvement (default: 0, never)',
    )
    parser.add_argument(
        '--val-share',
        type=arguments.fraction,
        default=0.2,
        metavar='S',
        help='share of the images for validation, if the dataset is unsplit (default: 0.2)',
    )
    parser.add_argument(
        '--no-train', action='store_true', help='only write the config and print its settings'
    )
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help='folder for everything that is written (default: ./work_dirs/finetune_<name of DATA>)',
    )
    arguments.add_overwrite(parser)
    parser.add_argument(
        '--seed',
        type=int,
        metavar='N',
        help='random seed of the split and of training (default: 0)',
    )
    arguments.add_drawing(parser)
    arguments.add_quiet(parser)
