"""Checks a file before a runtime opens it, if its description lies beside it."""

from pathlib import Path
from typing import Any, NamedTuple

from casvit.exported.description import (
    Description,
    ExportedModelError,
    read_description,
    require_own_files,
)
from casvit.exported.formats import FORMATS
from casvit.exported.model import require_options


class Checked(NamedTuple):
    """An exported file that may be opened.

    Attributes:
        description: What it says of itself.
        device: The device that was asked for; None for the runtime's usual one.
        score_threshold: Objects below this score are left out; None for what the file says.
    """

    description: Description
    device: str | None
    score_threshold: float | None


def checked(model: str, format_name: str, options: dict[str, Any]) -> Checked:
    """Checks that a file is the one that was exported, and trusted if its format runs code.

    Args:
        model: The file.
        format_name: Its format, a key of :data:`casvit.exported.formats.FORMATS`.
        options: The options of :class:`casvit.Predictor` that concern the model.

    Raises:
        ExportedModelError: It is missing, has changed, is of another format or not trusted.
        UserError: There are options that are for checkpoints only.
        OSError: It cannot be read.
    """
    device, threshold, trusted = require_options(model, options)
    file, chosen = Path(model), FORMATS[format_name]
    if not file.is_file():
        raise ExportedModelError(f'The model {model} does not exist.')
    if chosen.runs_code and not trusted:
        raise ExportedModelError(
            f'{model} is of the format {chosen.name}, whose files can run any code with your '
            'rights when they are opened: if you or people you know have made it, add --trust, or '
            'trust=True in Python.'
        )
    description = read_description(file)
    if description.format != format_name or file.name not in description.files:
        raise ExportedModelError(
            f'The description beside {model} is of another file: export the model again, and keep '
            'the names of its files.'
        )
    require_own_files(description, file)
    return Checked(description, device, threshold)


def require_cpu(device: str | None, format_name: str) -> None:
    """Checks that no other device than the CPU was asked for.

    Raises:
        ExportedModelError: One was.
    """
    if device not in (None, 'cpu'):
        raise ExportedModelError(
            f'device={device!r}: {FORMATS[format_name].name} files run on the CPU here.'
        )
