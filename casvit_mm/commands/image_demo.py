"""Loads the checkpoint with which `casvit image_demo` runs inference."""

from argparse import Namespace

from casvit.predictor import Predictor
from casvit_mm.commands.config import command_config
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.models.checkpoint import require_checkpoint
from casvit_mm.speed.devices import check_precision, usable_device
from casvit_mm.speed.freed_memory import keep_freed_memory


def load(args: Namespace) -> Predictor:
    """Loads CONFIG and CHECKPOINT.

    Args:
        args: The parsed arguments.

    Raises:
        CliError: The device or the precision is not available.
        CheckpointError: The checkpoint is missing, or does not fit.
    """
    device = usable_device(args.device)
    cfg = command_config(args)
    load_toolbox(cfg)
    require_matching_channels(cfg)
    require_checkpoint(args.checkpoint)
    if note := check_precision(args.precision, device):
        print(note)
    if args.fuse or args.compile:
        keep_freed_memory()
    return Predictor(
        args.checkpoint,
        config=cfg,
        device=device,
        score_threshold=args.score_thr,
        batch_size=args.batch_size,
        fuse=args.fuse,
        compile=args.compile,
        precision=args.precision,
    )
