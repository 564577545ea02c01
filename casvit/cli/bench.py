"""Measures the speed of CAS-ViT on this machine, as published, fused and compiled.

  casvit bench
      the backbones XS, S, M and T on single images of 512x512: as published, fused, compiled
  casvit bench --sizes xs --image-size 224 --batch-size 8 --out mine.json
  casvit bench --mode training --variants reference folded compiled
  casvit bench --precision fp32 bf16
      also in bf16, on GPUs and CPUs that support it
  casvit bench --configs retinanet_casvit-xs_fpn_1x_coco semantic_fpn_casvit-xs_40k_ade20k-512x512
      whole detectors and segmentors, with the maximum number of detections; on a CPU also the time
      of the backbone in it, and that of neck, heads and post-processing divided by it
  casvit bench --formats --configs mask_rcnn_casvit-xs_demo_shapes --checkpoint FILE
      a trained model in every format that it can be exported to, beside PyTorch: time with one and
      two threads, memory, sizes, difference, and with --evaluate the accuracy
  casvit bench --peers
      other backbones next to CAS-ViT, with their published accuracy (needs timm)
  casvit bench --variants fused --image-size 256 512 1024 2048
      how the cost grows with the image area: several image or batch sizes take turns, and a power
      law is fitted
  casvit bench --runs work_dirs/plain-0 work_dirs/fast-0 --out convergence.json
      measures nothing: compares the results of finished training runs by their `speed` settings
  casvit bench --pipelines mask_rcnn_casvit-xs_fpn_1x_coco --data-root /data/coco
      the time that each transform of the training pipeline takes
  casvit bench --page docs/speed.md --records benchmarks/inference.json benchmarks/training.json
      measures nothing: writes the pages on speed from records, machine by machine, with plots next
      to the first record of each machine; from records of --formats the page on formats

Every case runs in a process of its own. The processes take turns, and ratios compare neighbouring
turns, so they hold even if the machine is busy with other work. The tables show medians with
quartiles. --out writes every turn, the machine and the versions to a JSON file, which is updated
after each model, so that an interrupted run keeps its measurements.
"""

from argparse import ArgumentParser

from casvit.cli import arguments
from casvit.exported.formats import FORMATS
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
        '--configs', nargs='+', default=[], metavar='CONFIG', help='configs of whole models'
    )
    parser.add_argument(
        '--peers',
        nargs='*',
        metavar='NAME',
        help=f'other backbones, by their names in configs: {", ".join(PEERS)} (default: all)',
    )
    parser.add_argument(
        '--variants',
        nargs='+',
        choices=sorted({each for names in VARIANTS.values() for each in names}),
        help='variants to measure (default: all variants of the mode)',
    )
    parser.add_argument(
        '--precision',
        nargs='+',
        choices=tuple(PRECISIONS),
        default=['fp32'],
        help='precision of all variants but the reference, which is fp32 (default: fp32)',
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
        metavar='N',
        help='side of the square image, in pixels (default: 512; with --formats, the size that the '
        'config tests with)',
    )
    parser.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        nargs='+',
        default=[1],
        metavar='N',
        help='images per batch (default: 1)',
    )
    arguments.add_turns(parser, 9)
    parser.add_argument(
        '--seconds', type=float, default=2.0, metavar='S', help='length of a turn (default: 2)'
    )
    arguments.add_threads(parser)
    arguments.add_device(parser)
    parser.add_argument('--out', metavar='FILE.json', help='write the record to this file')
    parser.add_argument(
        '--note', metavar='TEXT', help='a remark for the record and its table, such as other load'
    )
    parser.add_argument(
        '--formats',
        nargs='*',
        choices=tuple(FORMATS),
        metavar='NAME',
        help=f'formats of exported models: {", ".join(FORMATS)} (default: all)',
    )
    parser.add_argument('--checkpoint', metavar='FILE', help='the trained model for --formats')
    parser.add_argument(
        '--evaluate', action='store_true', help='with --formats: also test each on the test dataset'
    )
    parser.add_argument('--runs', nargs='+', metavar='FOLDER', help='work dirs of finished runs')
    parser.add_argument(
        '--pipelines',
        nargs='+',
        metavar='CONFIG',
        help='measure the training pipelines of these configs instead of models',
    )
    parser.add_argument(
        '--data-root', metavar='DIR', help='data folder for --pipelines and --evaluate'
    )
    parser.add_argument(
        '--samples',
        type=arguments.positive_int,
        default=64,
        metavar='N',
        help='images for --pipelines (default: 64)',
    )
    parser.add_argument('--page', metavar='FILE.md', help='write the page on speed from --records')
    parser.add_argument(
        '--records', nargs='+', metavar='FILE.json', help='records that --out wrote earlier'
    )
