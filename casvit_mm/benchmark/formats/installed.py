"""How much space a runtime takes on disk, with all that it needs."""

import re
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    packages_distributions,
)
from pathlib import Path

ALWAYS = ('numpy', 'pillow', 'pycocotools', 'tqdm')
"""Distributions that the base installation brings."""


def install_size(*packages: str) -> int:
    """Bytes of the files of distributions and of those that they require.

    Args:
        *packages: Names that are imported; those of the base installation are added.

    Returns:
        The size as installed here, byte code included.
    """
    # What is imported as mmdet may be installed as onedl-mmdetection.
    owners = packages_distributions()
    found: dict[str, Distribution] = {}
    waiting = [*ALWAYS, *(owner for package in packages for owner in owners.get(package, ()))]
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        waiting += [
            re.split(r'[ ;<>=!~\[(]', requirement, maxsplit=1)[0]
            for requirement in found[name].requires or ()
            if 'extra ==' not in requirement
        ]
    places = (Path(str(file.locate())) for each in found.values() for file in each.files or ())
    return sum(place.stat().st_size for place in places if place.is_file())


def _normal(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()
