"""Writes a dataset as tar shards, from which runs read single images, on this machine or another.

  casvit shard DATA OUT.shards
      COCO, or images with semantic masks; annotation files stay as they are
  casvit shard DATA OUT.shards --shard-size 1024
      shards of 1 GB instead of 256 MB
  casvit shard DATA OUT.shards --task semantic
      the semantic masks of a dataset that has both masks and objects
  casvit train CONFIG --data-root shards://OUT.shards
      reads from them; shuffling, several processes and --resume work as with files
  casvit train CONFIG --data-root shards+https://HOST/OUT.shards
      the same after copying OUT.shards to a web server, or with shards+s3:// to a bucket

The index OUT.shards/index.jsonl lists where every file is, with its checksum, which is verified
whenever the file is read. The same dataset always gives the same bytes. OUT.shards is written whole
or not at all; a folder that exists is not replaced.
"""

from argparse import ArgumentParser, ArgumentTypeError

from casvit.tables import FORMATS


def megabytes(text: str) -> int:
    """A size in megabytes, between 1 and 2048."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 2048:
        raise ArgumentTypeError(f'{text!r} is not a number of megabytes between 1 and 2048')
    return int(text)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument('data', metavar='DATA', help='folder of the dataset, or a COCO file')
    parser.add_argument('out', metavar='OUT', help='new folder, whose name ends in .shards')
    parser.add_argument(
        '--shard-size',
        type=megabytes,
        default=256,
        metavar='MB',
        help='largest size of a shard in megabytes (default: 256)',
    )
    parser.add_argument(
        '--task',
        choices=('detection', 'instance', 'semantic'),
        help='task of the dataset (default: detected automatically)',
    )
    parser.add_argument(
        '--format',
        choices=FORMATS,
        help='format of the annotations (default: detected automatically)',
    )
    parser.add_argument(
        '--images',
        metavar='DIR',
        help='folder of the images that COCO files list (default: found automatically)',
    )
