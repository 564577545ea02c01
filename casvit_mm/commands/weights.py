"""Downloads published weights, and checks those on this machine."""

from argparse import Namespace
from pathlib import Path

from casvit.errors import CheckpointError, CliError
from casvit.sentences import reason_of
from casvit.tables import PUBLISHED_WEIGHTS, PublishedWeights
from casvit.weights.digest import digest_file, record, require_unchanged
from casvit.weights.fetch import fetch
from casvit.weights.find import absent, find_weights, published_weights, weights_folder
from casvit.weights.listing import commands
from casvit_mm.models.checkpoint.identify import check_published


def run(args: Namespace) -> int:
    """Downloads or checks weights, and prints the commands that use them.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CheckpointError: A file is missing, or not what its name says.
        TransferError: A file cannot be downloaded.
        MissingPackageError: gdown is not installed.
    """
    if args.action == 'get':
        for name in args.names:
            _get(published_weights(name))
    else:
        _check([published_weights(name) for name in args.names])
    return 0


def _get(weights: PublishedWeights) -> None:
    file = find_weights(weights)
    if file is not None:
        print(f'{file} is already there.')
        _report(file, weights)
        return
    print(f'Downloading {weights.name} from Google Drive', flush=True)
    file = fetch(weights, weights_folder(), lambda path: check_published(path, weights))
    _report(file, weights)


def _check(chosen: list[PublishedWeights]) -> None:
    here = [(weights, find_weights(weights)) for weights in chosen or PUBLISHED_WEIGHTS.values()]
    found = [(weights, file) for weights, file in here if file is not None]
    if chosen and len(found) < len(here):
        raise CheckpointError(absent(next(weights for weights, file in here if file is None)))
    if not found:
        raise CliError(
            f'There are no published weights in {weights_folder()}; `casvit weights` lists their '
            'names.'
        )
    problems = []
    for weights, file in found:
        try:
            _report(file, weights)
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError('\n'.join(problems))


def _report(file: Path, weights: PublishedWeights) -> None:
    """Checks a file, records its SHA-256, and prints what it is for."""
    try:
        require_unchanged(file)
        what = _checked(file, weights)
        if not digest_file(file).exists():
            record(file)
    except OSError as error:
        raise CheckpointError(
            f'{error.filename or file} cannot be read or written: {reason_of(error)}.'
        ) from error
    print(f'{file}: {what} ({file.stat().st_size:,} bytes), SHA-256 in {digest_file(file).name}')
    for command in commands(weights):
        print(f'  {command}')


def _checked(file: Path, weights: PublishedWeights) -> str:
    try:
        return check_published(file, weights)
    except CheckpointError as error:
        raise CheckpointError(
            f'{error} Rename or delete it; then `casvit weights get {weights.name}` downloads '
            f'{weights.name}.'
        ) from error
