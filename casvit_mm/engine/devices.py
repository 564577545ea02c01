"""The device that a model runs on."""

import torch

from casvit.errors import UserError


class DeviceError(UserError, ValueError):
    """A device cannot be used; the message is the reason that torch gives."""


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
        raise DeviceError(str(error).splitlines()[0]) from error
    return name
