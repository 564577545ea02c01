"""The device that a model runs on, and what it can compute in."""

import torch

from casvit.errors import UserError
from casvit_mm.speed.dense_parts import PRECISIONS
from casvit_mm.speed.matrix_products import gains_from, works_in


class DeviceError(UserError, ValueError):
    """A device cannot be used, or not in a precision; the message is the whole explanation."""


def usable_device(name: str | None) -> str:
    """The device to run on.

    Args:
        name: What was asked for; None takes the first GPU if there is one, else the CPU.

    Raises:
        DeviceError: There is no such device.
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
    """Looks whether a device can compute in a precision, and gains from it.

    Args:
        precision: A key of :data:`casvit_mm.speed.dense_parts.PRECISIONS`.
        device: Where the model runs.

    Returns:
        A sentence if the device gains nothing from it; empty if there is nothing to say.

    Raises:
        DeviceError: This torch does not compute in it there.
    """
    dtype = PRECISIONS[precision]
    if dtype is torch.float32:
        return ''
    name = 'CPU' if torch.device(device).type == 'cpu' else 'device'
    if not works_in(device, dtype):
        raise DeviceError(
            f'torch {torch.__version__} does not compute in {precision} on this {name}: choose '
            'another precision.'
        )
    if gains_from(device, dtype):
        return ''
    return f'Note: this {name} is not faster in {precision} than in fp32.'
