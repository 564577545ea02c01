"""The PyTorch backend: runs checkpoints with torch and OpenMMLab."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

from casvit.backends import Backend
from casvit.errors import MissingPackageError, UserError
from casvit.extras import how_to_install
from casvit.sentences import first_line
from casvit.tables import COMPILATIONS, PRECISIONS, SCORE_THRESHOLD
from casvit.weights.trust import trusting


class UnusableOptionError(UserError, ValueError):
    """An option has an invalid value, or one that this machine or model does not support."""


def load(
    model: str,
    *,
    config: Any = None,
    device: str | None = None,
    score_threshold: float | None = None,
    weights: str = 'model',
    fuse: bool = False,
    compile: bool | str = False,
    precision: str = 'fp32',
    trust: bool = False,
) -> Backend:
    """Loads a checkpoint; see :class:`casvit.Predictor` for the arguments.

    Raises:
        MissingPackageError: torch or OpenMMLab cannot be imported.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    with _importing():
        from mmengine.config import Config

        from casvit_mm.inference.image_model import ImageModel
        from casvit_mm.speed.devices import require_precision, usable_device

    if isinstance(config, (str, os.PathLike)):
        from casvit_mm.config.read import load_config

        config = load_config(os.fspath(config))
    elif config is not None and not isinstance(config, Config):
        raise UnusableOptionError(
            f'config is of type {type(config).__name__}: expected a file, the name of a config '
            'that comes with the package, or an mmengine Config.'
        )
    if precision not in PRECISIONS:
        raise UnusableOptionError(f'precision={precision!r}: expected {", ".join(PRECISIONS)}.')
    if compile not in COMPILATIONS:
        expected = ', '.join(map(repr, COMPILATIONS))
        raise UnusableOptionError(f'compile={compile!r}: expected {expected}.')
    device = usable_device(device)
    require_precision(precision, device)
    threshold = SCORE_THRESHOLD if score_threshold is None else score_threshold
    with trusting(trust):
        loaded = ImageModel(
            model, config, device=device, score_threshold=threshold, weights=weights
        )
    if fuse or compile or precision != 'fp32':
        from casvit_mm.deploy import Acceleration, accelerate

        accelerate(loaded.model, Acceleration(fuse, compile, precision))
        loaded.precision = precision
    return loaded


@contextmanager
def _importing() -> Iterator[None]:
    try:
        # Some libraries print which optional packages are missing; none is needed here.
        with redirect_stdout(StringIO()):
            yield
    # Importing from a broken installation may raise any error.
    except Exception as error:
        raise MissingPackageError(
            'A checkpoint needs torch and OpenMMLab, which cannot be imported here '
            f'({first_line(error)}): '
            f'{how_to_install("torch")}.'
        ) from error
