"""Generates the demo dataset: shapes on textured images, with boxes, masks and semantic masks.

  casvit generate_shapes
      the dataset of the demo configs, in the cache folder where they look for it
  casvit generate_shapes --task classification
      the dataset of the classification demo: one shape per image, one folder per class
  casvit generate_shapes --out data/shapes
      the same dataset in your own folder; pass it to other commands with --data-root
  casvit generate_shapes --out data/large --num-train 2000 --size 320 --seed 1
      a larger dataset
  casvit generate_shapes --out data/others --other-classes
      a dataset of other shapes, to fine-tune a model of the first ones (docs/own_data.md)

The same arguments always give the same files. The folder has train/ and val/ (images), annotations/
(COCO instances, visible parts only) and labels/ (semantic masks; 0 is the background). For
classification it has train/ and val/, each with one folder of images per class.
"""

from argparse import ArgumentParser

from casvit.files import cache_folder


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    default = str(cache_folder()).replace('%', '%%')
    parser.add_argument(
        '--task',
        choices=('detection', 'classification'),
        default='detection',
        help='task of the dataset; detection (the default) also serves segmentation',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='new or empty folder, or one with a dataset generated for the same task, which is '
        f'replaced (default: a folder in {default})',
    )
    parser.add_argument(
        '--num-train',
        type=int,
        metavar='N',
        help='number of training images (default: 400; for classification 2000)',
    )
    parser.add_argument(
        '--num-val',
        type=int,
        metavar='N',
        help='number of validation images (default: 100; for classification 240)',
    )
    parser.add_argument(
        '--size',
        type=int,
        metavar='PIXELS',
        help='side of an image (default: 160; for classification 64)',
    )
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='random seed (default: 0)')
    parser.add_argument(
        '--other-classes',
        action='store_true',
        help='generate other shapes, such as half, arrow and gear; for detection, with --out',
    )
