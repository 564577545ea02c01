"""Runs inference on an image, a folder of images, or a video, and writes the results."""

import sys
from argparse import Namespace
from pathlib import Path

from casvit.cli import arguments
from casvit.demo import Demo, find_inputs
from casvit.drawing.style import Style
from casvit.errors import CliError
from casvit.predictor import Predictor
from casvit_mm.commands.config import command_config
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.models.checkpoint import require_checkpoint
from casvit_mm.speed.devices import check_precision, usable_device
from casvit_mm.speed.freed_memory import keep_freed_memory


def run(args: Namespace) -> int:
    """Runs inference and writes the results.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code: 1 if images of a folder were skipped.

    Raises:
        CliError: The input is missing or cannot be read, or the arguments contradict each other.
        CheckpointError: The checkpoint is missing, or does not fit.
    """
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
    device = usable_device(args.device)
    cfg = command_config(args)
    load_toolbox(cfg)
    require_matching_channels(cfg)
    require_checkpoint(args.checkpoint)
    if note := check_precision(args.precision, device):
        print(note)
    if args.fuse or args.compile:
        keep_freed_memory()
    predictor = Predictor(
        args.checkpoint,
        config=cfg,
        device=device,
        score_threshold=args.score_thr,
        batch_size=args.batch_size,
        fuse=args.fuse,
        compile=args.compile,
        precision=args.precision,
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    demo = Demo(
        predictor,
        out_dir,
        args.tile,
        None if args.tile is None else overlap,
        Style(**arguments.drawing(args)),
        args.score_thr,
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
