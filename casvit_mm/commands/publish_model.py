"""Writes a clean checkpoint to share."""

from argparse import Namespace

from casvit_mm.models.checkpoint.publish import publish


def run(args: Namespace) -> int:
    """Writes the checkpoint and prints its name and size.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CheckpointError: The checkpoint cannot be read, is not of a CAS-ViT, or cannot be written.
    """
    written = publish(args.checkpoint, args.out, layout=args.layout, weights=args.weights)
    print(f'{written} ({written.stat().st_size:,} bytes)')
    return 0
