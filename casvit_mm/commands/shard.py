"""Writes a dataset as tar shards."""

from argparse import Namespace
from pathlib import Path

from casvit.names import printable
from casvit.sentences import count_of
from casvit.terminal.progress import Progress
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.shards.address import ENDING, PREFIX
from casvit_mm.datasets.shards.plan import plan_of
from casvit_mm.datasets.shards.write import MEGABYTE, check_out, write_shards


def run(args: Namespace) -> int:
    """Writes the shards, and prints how to read from them.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        DatasetError: The dataset cannot be read, or the folder cannot be written.
    """
    out = Path(args.out).expanduser()
    # Before minutes of reading.
    check_out(out)
    plan = plan_of(read_dataset(args.data, args.task, kind=args.format, images=args.images))
    with Progress(unit='B', unit_scale=True, desc='shards') as progress:
        written = write_shards(plan, out, args.shard_size * MEGABYTE, progress.update)
    size = -(-written.size // MEGABYTE)
    print(
        printable(
            f'{count_of(written.files, "file")} in {count_of(written.shards, "shard")} '
            f'({size:,} MB): {out}'
        )
    )
    here = out.absolute().as_posix()
    remote = f'{PREFIX}+https://HOST/PATH/{out.name}'
    for line in (
        f'for commands: --data-root {PREFIX}://{here}',
        f"in a config: data_root = '{PREFIX}://{here}/'",
        f"on a web server: data_root = '{remote}/' (s3, gs, sftp and others in place of https)",
        'No backend_args are needed: the ending '
        + ENDING
        + ' tells the shards from what is in them.',
    ):
        print(printable(line))
    return 0
