"""Writes a clean checkpoint to hand out."""

from argparse import Namespace

from casvit_mm.models.checkpoint.publish import publish


def run(args: Namespace) -> int:
    """Publishes.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CheckpointError: The weights cannot be read, are no CAS-ViT's, or cannot be written.
    """
    written = publish(args.checkpoint, args.out, layout=args.layout, weights=args.weights)
    print(f'{written} ({written.stat().st_size:,} bytes)')
    return 0
