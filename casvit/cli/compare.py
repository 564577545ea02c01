"""Compares the token mixers of CAS-ViT, and other backbones, on this machine.

  casvit compare --out comparison
      CAS-ViT XS with every registered token mixer, its sizes S, M and T, and 21 other backbones
      (they need timm), on images of 512x512: several hours on a CPU
  casvit compare --mixers CASMixer SelfAttentionMixer --no-peers --image-size 224 --out quick
  casvit compare --custom-imports my_parts --mixers MyMixer --out comparison
      a mixer of your own, registered in my_parts.py: docs/extend.md
  casvit compare --train --out comparison
      trains them instead: all token mixers and three small other backbones, hours on a CPU;
      into the same record
  casvit compare --train --tasks detection --mixers CASMixer PoolingMixer --no-peers --out brief
  casvit compare --train --jobs 8 --threads 2 --out comparison
      eight at a time: for a GPU and 16 cores
  casvit compare --page compare.md --records comparison/compare.json
      measures nothing: writes a page with tables and plots from records, one for each machine

For each: parameters, MACs and activations; latency, and images per second in batches, in PyTorch,
compiled for this size, and exported to ONNX; a training step and its memory; how the cost grows
with the area of the image; and the effective receptive field. Weights are random. Published
accuracy is shown as such, and left empty if nobody published it.

Processes take turns, as in `casvit bench`. What is measured is kept after each model in
FOLDER/compare.json: the same command again goes on where it stopped, and more names add to it.

With --train, each is trained from random weights on the generated datasets, in the recipe of the
demos: a RetinaNet for detection, a Semantic FPN for segmentation. Only the backbone differs. All of
a task have the same number of steps (--steps); a third of them for each learning rate of --rates,
then all for each seed with the best one, whose models are also tested with images of 0.5 to 2 times
the size. A run is a `casvit train` of its own in FOLDER/runs. If it fails, or takes longer than
--minutes, the others go on; the same command again does what is left, and resumes from checkpoints.
So short a training shows what learns quickly, not what is best in the end: the page says what can
be concluded.
"""

from argparse import ArgumentParser

from casvit.cli import arguments
from casvit.tables import (
    ARCHITECTURES,
    COMPARED_STEPS,
    COMPARED_TASKS,
    COMPARED_VARIANTS,
    PEERS,
    TRAINED_PEERS,
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        '--size',
        choices=tuple(ARCHITECTURES),
        default='xs',
        help='size of the CAS-ViT that has the token mixers (default: xs)',
    )
    parser.add_argument(
        '--mixers', nargs='+', metavar='NAME', help='registered token mixers (default: all)'
    )
    parser.add_argument(
        '--custom-imports',
        nargs='+',
        default=[],
        metavar='MODULE',
        help='modules to import first, which register mixers of your own',
    )
    parser.add_argument(
        '--other-sizes',
        nargs='+',
        choices=tuple(ARCHITECTURES),
        metavar='SIZE',
        help='other sizes of CAS-ViT, with its own mixer (default: all whose box AP is published; '
        'none with --no-peers or --train)',
    )
    peers = parser.add_mutually_exclusive_group()
    peers.add_argument(
        '--peers',
        nargs='+',
        metavar='NAME',
        help=f'other backbones, by their names in configs: {", ".join(PEERS)} (default: all; '
        f'with --train {", ".join(TRAINED_PEERS)})',
    )
    peers.add_argument('--no-peers', action='store_true', help='compare token mixers only')
    arguments.add_threads(parser)
    arguments.add_device(parser)
    parser.add_argument(
        '--out', metavar='FOLDER', help='folder of the record compare.json and its plots'
    )
    parser.add_argument('--page', metavar='FILE.md', help='write the page from --records')
    parser.add_argument(
        '--records', nargs='+', metavar='FILE.json', help='records that --out wrote earlier'
    )
    _add_measuring(parser)
    _add_training(parser)


def _add_measuring(parser: ArgumentParser) -> None:
    group = parser.add_argument_group('measuring')
    group.add_argument(
        '--image-size',
        type=arguments.positive_int,
        default=512,
        metavar='N',
        help='side of the square image, in pixels (default: 512)',
    )
    group.add_argument(
        '--variants',
        nargs='+',
        choices=COMPARED_VARIANTS,
        default=list(COMPARED_VARIANTS),
        help='variants of inference to measure (default: all)',
    )
    group.add_argument(
        '--growth-sizes',
        nargs='+',
        type=arguments.positive_int,
        metavar='N',
        help='sides of the images with which the growth of the cost is measured, at least three '
        '(default: five, from half of --image-size to twice as much)',
    )
    group.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        default=8,
        metavar='N',
        help='images per batch for the throughput (default: 8)',
    )
    arguments.add_turns(group, 5)
    group.add_argument(
        '--seconds',
        type=arguments.above_zero,
        default=1.0,
        metavar='S',
        help='length of a turn (default: 1)',
    )


def _add_training(parser: ArgumentParser) -> None:
    group = parser.add_argument_group('training')
    group.add_argument(
        '--train', action='store_true', help='train the candidates instead of measuring them'
    )
    group.add_argument(
        '--tasks',
        nargs='+',
        choices=COMPARED_TASKS,
        default=list(COMPARED_TASKS),
        help='tasks to train for (default: all)',
    )
    steps = ', '.join(f'{number} for {task}' for task, number in COMPARED_STEPS.items())
    group.add_argument(
        '--steps',
        nargs='+',
        type=arguments.positive_int,
        metavar='N',
        help=f'training steps, one number for each of --tasks or one for all (default: {steps})',
    )
    group.add_argument(
        '--rates',
        nargs='+',
        type=arguments.above_zero,
        default=[0.1, 0.3, 1.0],
        metavar='X',
        help="learning rates to try, as multiples of the demo's (default: 0.1 0.3 1); a single one "
        'is used without a search',
    )
    group.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        default=[0, 1, 2],
        metavar='N',
        help='seeds of the runs with the best learning rate; the first one is for the search, too '
        '(default: 0 1 2)',
    )
    group.add_argument(
        '--jobs',
        type=arguments.positive_int,
        default=1,
        metavar='N',
        help='train so many candidates side by side, each with --threads: for a GPU, which a small '
        'model does not fill, or many cores (default: 1)',
    )
    group.add_argument(
        '--minutes',
        type=arguments.above_zero,
        default=3.0,
        metavar='M',
        help='stop a training that takes longer, and go on with the next; with more minutes, the '
        'same command resumes it (default: 3)',
    )
