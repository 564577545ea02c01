"""Lists, downloads and checks the weights that the authors of CAS-ViT publish.

  casvit weights
      every published file: task, published accuracy, and where it is on this machine
  casvit weights get cas-vit-m
      downloads one from Google Drive, checks it, and prints the commands that use it; more names
      may follow
  casvit weights check
      checks the files on this machine, such as those downloaded with a browser: complete,
      unchanged, and of the model that their name says; names choose some

Files go to the folder that the environment variable CASVIT_WEIGHTS names, or to ./checkpoints.
Nothing is downloaded unless you ask for it. Downloads need the extra `weights`:
  pip install "casvit-mm[weights]"

Wherever a checkpoint is named, casvit://NAME stands for the file:
  casvit image_demo IMAGE.jpg mask_rcnn_casvit-s_fpn_1x_coco casvit://mask_rcnn_casvit-s_fpn_1x_coco

The SHA-256 of a file is recorded next to it (NAME.pth.sha256). A file that is already there is
never replaced.
"""

from argparse import ArgumentParser, Namespace

from casvit.cli.loading import loading
from casvit.errors import CliError
from casvit.weights.find import published_weights
from casvit.weights.listing import listed


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        'action',
        nargs='?',
        choices=('list', 'get', 'check'),
        default='list',
        help='what to do (default: list)',
    )
    parser.add_argument('names', nargs='*', metavar='NAME', help='names of published weights')


def run(args: Namespace) -> int:
    """Lists the weights; torch is imported only to download or check some.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CheckpointError: A name is unknown, or a file is not what its name says.
        CliError: Names are missing, or given where there are none to give.
        MissingPackageError: A package is not installed.
    """
    for name in args.names:
        published_weights(name)
    if args.action == 'list':
        if args.names:
            raise CliError('`casvit weights list` takes no names: it lists everything.')
        print('\n'.join(listed()))
        return 0
    if args.action == 'get' and not args.names:
        raise CliError('Name the weights to download; `casvit weights` lists them.')
    with loading('casvit weights'):
        from casvit_mm.commands import weights
    return weights.run(args)
