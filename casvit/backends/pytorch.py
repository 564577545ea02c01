"""Checkpoints, run by torch and the toolboxes of OpenMMLab."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

from casvit.backends import Backend
from casvit.errors import MissingPackageError, UserError
from casvit.extras import how_to_install
from casvit.tables import PRECISIONS


class UnusableOptionError(UserError, ValueError):
    """This machine or this model cannot do what an option asks for."""


def load(
    model: str,
    *,
    config: Any = None,
    device: str | None = None,
    score_threshold: float = 0.3,
    weights: str = 'model',
    fuse: bool = False,
    compile: bool = False,
    precision: str = 'fp32',
) -> Backend:
    """Loads a checkpoint; see :class:`casvit.Predictor` for the arguments.

    Raises:
        MissingPackageError: torch or OpenMMLab cannot be imported.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    with _importing():
        from mmengine.config import Config

        from casvit_mm.engine.devices import DeviceError, usable_device
        from casvit_mm.inference.image_model import ImageModel

    if isinstance(config, (str, os.PathLike)):
        from casvit_mm.config.read import load_config

        config = load_config(os.fspath(config))
    elif config is not None and not isinstance(config, Config):
        raise UnusableOptionError(
            f'config is of type {type(config).__name__}: expected a file, the name of a config '
            'that comes with the package, or a Config of mmengine.'
        )
    if precision not in PRECISIONS:
        raise UnusableOptionError(f'precision={precision!r}: expected {", ".join(PRECISIONS)}.')
    try:
        device = usable_device(device)
    except DeviceError as error:
        raise UnusableOptionError(f'device={device!r} cannot be used: {error}') from error
    loaded = ImageModel(
        model, config, device=device, score_threshold=score_threshold, weights=weights
    )
    if fuse or compile or precision != 'fp32':
        _accelerate(loaded.model, str(model), device, fuse, compile, precision)
    return loaded


def _accelerate(
    model: Any, name: str, device: str, fuse: bool, compile: bool, precision: str
) -> None:
    import torch

    from casvit_mm.deploy import Acceleration, accelerate
    from casvit_mm.speed.dense_parts import PRECISIONS as DTYPES
    from casvit_mm.speed.matrix_products import works_in

    if precision != 'fp32' and not works_in(device, DTYPES[precision]):
        raise UnusableOptionError(
            f'torch {torch.__version__} does not compute in {precision} on {device}: choose '
            'another precision.'
        )
    try:
        accelerate(model, Acceleration(fuse, compile, precision))
    except ValueError as error:
        raise UnusableOptionError(f'The model {name} cannot be fused: {error}.') from error


@contextmanager
def _importing() -> Iterator[None]:
    try:
        # Some libraries print what they lack, of which nothing is needed here.
        with redirect_stdout(StringIO()):
            yield
    # An installation that is broken raises anything while it is imported.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingPackageError(
            f'A checkpoint needs torch and OpenMMLab, which cannot be imported here ({reason}): '
            f'{how_to_install("torch")}.'
        ) from error
