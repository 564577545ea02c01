"""The device of a command, and what it can compute in."""

import torch

from casvit.errors import CliError
from casvit_mm.engine.devices import DeviceError, usable_device
from casvit_mm.speed.dense_parts import PRECISIONS
from casvit_mm.speed.matrix_products import gains_from, works_in


def find_device(name: str | None) -> str:
    """The device to run on.

    Args:
        name: What was asked for; None takes the first GPU if there is one.

    Raises:
        CliError: There is no such device.
    """
    try:
        return usable_device(name)
    except DeviceError as error:
        raise CliError(f'--device {name} cannot be used: {error}') from error


def check_precision(precision: str, device: str) -> str:
    """Looks whether a device can compute in a precision, and gains from it.

    Args:
        precision: A key of :data:`casvit_mm.speed.dense_parts.PRECISIONS`.
        device: Where the model runs.

    Returns:
        A sentence if the device gains nothing from it; empty if there is nothing to say.

    Raises:
        CliError: This torch does not compute in it there.
    """
    dtype = PRECISIONS[precision]
    if dtype is torch.float32:
        return ''
    name = 'CPU' if torch.device(device).type == 'cpu' else 'device'
    if not works_in(device, dtype):
        raise CliError(
            f'torch {torch.__version__} does not compute in {precision} on this {name}: choose '
            'another --precision.'
        )
    if gains_from(device, dtype):
        return ''
    return f'Note: this {name} is not faster in {precision} than in fp32.'
