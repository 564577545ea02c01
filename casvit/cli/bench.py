"""Measures how fast a CAS-ViT is here, in all the ways it can be run.

  casvit bench
      the backbones XS, S, M and T at 512x512, an image at a time: as published, fused, compiled
  casvit bench --sizes xs --image-size 224 --batch-size 8 --out mine.json
  casvit bench --mode training --variants reference folded compiled
  casvit bench --precision fp32 bf16
      also in bf16, on GPUs and CPUs with instructions for it
  casvit bench --configs retinanet_casvit-xs_fpn_1x_coco semantic_fpn_casvit-xs_40k_ade20k-512x512
      whole detectors and segmentors, with as many objects found as there may be
  casvit bench --peers
      backbones of others beside CAS-ViT, with what is published of their accuracy (needs timm)
  casvit bench --variants fused --image-size 256 512 1024 2048
      how cost grows with the area: several sizes of images or batches take turns, and a power
      law is fitted
  casvit bench --runs work_dirs/plain-0 work_dirs/fast-0 --out convergence.json
      measures nothing: what finished training runs reached, by the switches of their `speed`
  casvit bench --pipelines mask_rcnn_casvit-xs_fpn_1x_coco --data-root /data/coco
      what reading, resizing and masks take of the training's data, transform by transform
  casvit bench --page docs/speed.md --records benchmarks/inference.json benchmarks/training.json
      measures nothing: writes the page on speed from records, machine by machine, and plots beside
    the first record of each

Every case runs in a process of its own; the processes take turns, and a ratio is one of
neighbouring turns: that holds on a machine that others use too. Printed are medians with
quartiles. --out keeps every turn, the machine and the versions as JSON; it is written anew after
each model, so that a run that is broken off keeps what it had measured.
"""

from argparse import ArgumentParser, Namespace

from casvit.cli import arguments
from casvit.cli.loading import loading
from casvit.tables import ARCHITECTURES, PEERS, PRECISIONS, VARIANTS


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        '--sizes',
        nargs='+',
        choices=tuple(ARCHITECTURES),
        help='sizes of the backbone (default: xs s m t; none with --configs)',
    )
    parser.add_argument(
        '--configs', nargs='+', default=[], metavar='CONFIG', help='whole models, by their configs'
    )
    parser.add_argument(
        '--peers',
        nargs='*',
        metavar='NAME',
        help=f'backbones of others, by their names in timm: {", ".join(PEERS)} (default: all)',
    )
    parser.add_argument(
        '--variants',
        nargs='+',
        choices=sorted({each for names in VARIANTS.values() for each in names}),
        help='ways to run it (default: all that the mode has)',
    )
    parser.add_argument(
        '--precision',
        nargs='+',
        choices=tuple(PRECISIONS),
        default=['fp32'],
        help='of all variants but the reference, which is fp32 (default: fp32)',
    )
    parser.add_argument(
        '--mode',
        choices=tuple(VARIANTS),
        default='inference',
        help='what to measure (default: inference)',
    )
    parser.add_argument(
        '--image-size',
        type=arguments.positive_int,
        nargs='+',
        default=[512],
        metavar='N',
        help='side of the square image, in pixels (default: 512)',
    )
    parser.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        nargs='+',
        default=[1],
        metavar='N',
        help='images at once (default: 1)',
    )
    parser.add_argument(
        '--turns',
        type=arguments.positive_int,
        default=9,
        metavar='N',
        help='how often each case gets its turn (default: 9)',
    )
    parser.add_argument(
        '--seconds', type=float, default=2.0, metavar='S', help='length of a turn (default: 2)'
    )
    parser.add_argument(
        '--threads',
        type=arguments.positive_int,
        metavar='N',
        help="threads of each process (default: torch's)",
    )
    arguments.add_device(parser)
    parser.add_argument('--out', metavar='FILE.json', help='write the record here')
    parser.add_argument(
        '--note', metavar='TEXT', help='a remark for the record and its table: what else mattered'
    )
    parser.add_argument('--runs', nargs='+', metavar='FOLDER', help='work dirs of finished runs')
    parser.add_argument(
        '--pipelines', nargs='+', metavar='CONFIG', help='time their training data, not a model'
    )
    parser.add_argument('--data-root', metavar='DIR', help='where the data of --pipelines are')
    parser.add_argument(
        '--samples',
        type=arguments.positive_int,
        default=64,
        metavar='N',
        help='images for --pipelines (default: 64)',
    )
    parser.add_argument('--page', metavar='FILE.md', help='write the page on speed of --records')
    parser.add_argument(
        '--records', nargs='+', metavar='FILE.json', help='what --out of earlier runs wrote'
    )


def run(args: Namespace) -> int:
    """Runs the command; returns the exit code."""
    with loading('casvit bench'):
        from casvit_mm.commands.bench import run
    return run(args)
