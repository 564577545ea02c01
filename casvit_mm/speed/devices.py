"""Chooses the device that a model runs on, and checks the precisions that it supports."""

import torch

from casvit.errors import UserError
from casvit_mm.speed.dense_parts import PRECISIONS
from casvit_mm.speed.matrix_products import gains_from, works_in


class DeviceError(UserError, ValueError):
    """A device or its precision cannot be used; the message says why."""


def usable_device(name: str | None) -> str:
    """Chooses the device to run on.

    Args:
        name: The requested device; None selects the first GPU if there is one, else the CPU.

    Raises:
        DeviceError: The device does not exist or cannot be used.
    """
    if name is None:
        return 'cuda:0' if torch.cuda.is_available() else 'cpu'
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].removesuffix('.')
        raise DeviceError(f'The device {name!r} cannot be used: {reason}.') from error
    return name


def check_precision(precision: str, device: str) -> str:
    """Checks whether a device supports a precision and is faster in it.

    Args:
        precision: A key of :data:`casvit_mm.speed.dense_parts.PRECISIONS`.
        device: The device that the model runs on.

    Returns:
        A note if the device is no faster in this precision; otherwise empty.

    Raises:
        DeviceError: This torch does not support the precision on the device.
    """
    require_precision(precision, device)
    dtype = PRECISIONS[precision]
    if dtype is torch.float32 or gains_from(device, dtype):
        return ''
    return f'Note: this {_kind(device)} is not faster in {precision} than in fp32.'


def require_precision(precision: str, device: str) -> None:
    """Checks that a device supports a precision, without timing anything.

    Args:
        precision: As for :func:`check_precision`.
        device: The device that the model runs on.

    Raises:
        DeviceError: This torch does not support the precision on the device.
    """
    dtype = PRECISIONS[precision]
    if dtype is not torch.float32 and not works_in(device, dtype):
        raise DeviceError(
            f'torch {torch.__version__} does not support {precision} on this {_kind(device)}: '
            'choose another precision.'
        )


def _kind(device: str) -> str:
    return 'CPU' if torch.device(device).type == 'cpu' else 'device'
