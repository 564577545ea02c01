"""Runs inference on an image, a folder of images, or a video.

  casvit image_demo photo.jpg CONFIG CHECKPOINT --out-dir out
  casvit image_demo photos/ CONFIG CHECKPOINT --score-thr 0.5 --batch-size 4
  casvit image_demo street.mp4 CONFIG CHECKPOINT --device cuda
  casvit image_demo street.mp4 CONFIG CHECKPOINT --fuse --compile
      the same results, faster: compilation takes a minute or more once
  casvit image_demo aerial.png CONFIG CHECKPOINT --tile 1024 --overlap 256
      a very large image, in overlapping tiles; an object found in two tiles is reported once.
      Objects larger than the overlap may come out in pieces.
  casvit image_demo photos/ model.onnx
      an exported model (see casvit export), which needs no config; ONNX, OpenVINO and ncnn need
      no PyTorch either

For each input, the out dir gets an image (or a video) with the result drawn on it, small images
enlarged, and a JSON list in pixels of the input:
  detection       {file, label, score, bbox: [x1, y1, x2, y2], mask: COCO's run-length code}
  segmentation    {file, label, index, pixels, share} per class; NAME_labels.png holds the indices
  classification  {file, label, index, score} of the best 5 classes
Records of a video also have the frame number.

Images of a folder that cannot be read, predicted or written are skipped and listed at the end with
the reasons; the exit code is then 1. If a single image fails, that is an error (exit code 2).
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from casvit.cli import arguments
from casvit.cli.loading import loading
from casvit.errors import CliError
from casvit.tables import SCORE_THRESHOLD

if TYPE_CHECKING:
    from casvit.predictor import Predictor


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument('input', metavar='INPUT', help='image, folder of images, or video')
    arguments.add_config(parser, or_exported=True)
    arguments.add_size(parser)
    arguments.add_checkpoint(parser, optional=True)
    arguments.add_trust(parser)
    parser.add_argument(
        '--out-dir', metavar='DIR', default='outputs', help='output folder (default: outputs)'
    )
    parser.add_argument(
        '--score-thr',
        type=arguments.fraction,
        metavar='S',
        help=f'leave out detections below this score (default: {SCORE_THRESHOLD}, or what an '
        'exported model says)',
    )
    parser.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        default=1,
        metavar='N',
        help='images, frames or tiles per batch (default: 1)',
    )
    parser.add_argument(
        '--tile',
        type=arguments.positive_int,
        metavar='SIZE',
        help='predict tiles of this side, in pixels, instead of the whole image',
    )
    parser.add_argument(
        '--overlap',
        type=int,
        metavar='PIXELS',
        help='overlap of tiles, at least the size of an object (default: a quarter of a tile)',
    )
    arguments.add_acceleration(parser)
    arguments.add_device(parser)
    arguments.add_drawing(parser)


def run(args: Namespace) -> int:
    """Runs inference and writes the results; torch is imported only for checkpoints.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code: 1 if images of a folder were skipped.

    Raises:
        CliError: The input is missing or cannot be read, or the arguments contradict each other.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    # --help needs none of these.
    from casvit.demo import Demo, find_inputs
    from casvit.drawing.style import Style

    _check_model(args)
    source, out_dir = Path(args.input).expanduser(), Path(args.out_dir).expanduser()
    images = find_inputs(source)
    if args.overlap is not None and args.tile is None:
        raise CliError('--overlap needs a tile size: add --tile SIZE.')
    overlap = args.overlap if args.overlap is not None else (args.tile or 0) // 4
    if args.tile is not None and not 0 <= overlap < args.tile:
        raise CliError(f'--overlap {overlap} does not fit tiles of {args.tile} pixels.')
    folder = source if source.is_dir() else source.parent
    if out_dir.exists() and out_dir.resolve() == folder.resolve():
        raise CliError(
            f'--out-dir {out_dir} is the folder of the input, which results could overwrite: '
            'choose another one.'
        )
    predictor = _predictor(args)
    out_dir.mkdir(parents=True, exist_ok=True)
    demo = Demo(
        predictor,
        out_dir,
        args.tile,
        None if args.tile is None else overlap,
        Style(**arguments.drawing(args)),
        getattr(predictor.backend, 'score_threshold', SCORE_THRESHOLD),
    )
    if not images:
        demo.on_video(source)
        return 0
    skipped = demo.on_images(images)
    if not skipped:
        return 0
    if not source.is_dir():
        raise CliError(skipped[source])
    reasons = '\n'.join(f'  {reason}' for reason in skipped.values())
    print(f'Skipped {len(skipped)} of {len(images)} image(s):\n{reasons}', file=sys.stderr)
    return 1


def _check_model(args: Namespace) -> None:
    """Checks that there is one model, and that the options are for its kind."""
    if args.exported is None:
        if args.checkpoint is None:
            raise CliError(
                f'Name the CHECKPOINT after the config {args.config}; or an exported model '
                f'instead of both, which ends in {", ".join(arguments.EXPORTED)}.'
            )
        if arguments.is_exported(args.checkpoint):
            raise CliError(
                f'{args.checkpoint} is an exported model, which holds its config: leave out '
                f'{args.config}.'
            )
        return
    if args.checkpoint is not None:
        raise CliError(
            f'{args.exported} is an exported model, which holds its weights: leave out '
            f'{args.checkpoint}.'
        )
    of_config = {'--cfg-options': args.cfg_options, '--data-root': args.data_root}
    given = [name for name, value in of_config.items() if value is not None]
    if wrong := [*arguments.of_checkpoints(args), *given]:
        raise CliError(
            f'{" and ".join(wrong)}: for checkpoints only. {args.exported} is an exported model, '
            'whose config, weights and precision were settled by `casvit export`.'
        )


def _predictor(args: Namespace) -> 'Predictor':
    if args.exported is not None:
        from casvit.predictor import Predictor

        return Predictor(
            Path(args.exported).expanduser(),
            device=args.device,
            score_threshold=args.score_thr,
            batch_size=args.batch_size,
            trust=args.trust,
        )
    with loading('casvit image_demo'):
        from casvit_mm.commands import image_demo
    return image_demo.load(args)
