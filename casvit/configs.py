"""Finds the configs that come with the package, without importing the libraries they are for."""

import difflib
import re
from importlib.util import find_spec
from pathlib import Path

from casvit.errors import CliError

SIZE = re.compile(r'(casvit-)(?:xs|s|m|t)(?=_)')


def shipped_configs() -> Path:
    """The folder of the configs that come with the package, in a checkout or installed.

    Raises:
        CliError: The installation is incomplete.
    """
    spec = find_spec('casvit_mm')
    if spec is None or spec.origin is None:
        raise CliError(
            'The package casvit_mm is not installed next to casvit, so there are no configs: '
            'install casvit-mm again.'
        )
    package = Path(spec.origin).parent
    in_checkout = package.parent / 'configs'
    return in_checkout if (in_checkout / '_base_').is_dir() else package / '.mim' / 'configs'


def find_config(name: str) -> Path:
    """Finds a config.

    Args:
        name: A path; or a path relative to the shipped configs, or a name alone, both with or
            without ``.py``.

    Returns:
        The file.

    Raises:
        CliError: There is no such config; the message suggests similar names.
    """
    given = Path(name).expanduser()
    if given.is_file():
        return given
    return _find_shipped(given)


def config_path(name: str) -> str:
    """The path of a config that comes with the package, to inherit from or to pass to a tool.

    Args:
        name: Its name, with or without ``.py`` and the folder: ``'mask_rcnn_casvit'``,
            ``'detection/mask_rcnn_casvit.py'``.

    Returns:
        The absolute path.

    Raises:
        CliError: There is no config of that name; the message suggests similar names.

    Example:
        >>> from casvit import config_path
        >>> inferencer = DetInferencer(config_path('mask_rcnn_casvit'), 'best.pth')
    """
    return str(_find_shipped(Path(name)).resolve())


def _find_shipped(given: Path) -> Path:
    folder = shipped_configs()
    for path in (folder / given, folder / f'{given}.py'):
        if path.is_file():
            return path
    shipped = sorted(
        path for path in folder.rglob('*.py') if '_base_' not in path.relative_to(folder).parts
    )
    wanted = given.name.removesuffix('.py')
    if len(given.parts) == 1:
        for path in shipped:
            if path.stem == wanted:
                return path
    stems = [path.stem for path in shipped]
    near = difflib.get_close_matches(wanted, stems, n=3, cutoff=0.5)
    if near:
        advice = f'Did you mean {" or ".join(near)}?'
    else:
        families = dict.fromkeys(SIZE.sub(r'\1SIZE', stem) for stem in stems)
        advice = (
            f'These come with the package: {", ".join(families) or "none"}. SIZE is xs, s, m or t.'
        )
    what = 'is a folder' if given.is_dir() else 'does not exist'
    raise CliError(f'The config {given} {what}. {advice}')
