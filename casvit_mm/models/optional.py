"""mmpretrain, which classification needs and nothing else here."""

import importlib
import sys


class MissingPackageError(RuntimeError):
    """A config asks for a package that cannot be imported; the message says what to install."""


def _import_or_forget(name: str) -> str:
    """Imports a module; returns why that cannot be, or nothing.

    A torchvision that was built for another torch raises a RuntimeError. mmengine and mmdet, which
    import it and mmpretrain where they are there, bear an ImportError alone: after the first
    failure, further imports raise one.
    """
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        sys.modules[name.split('.')[0]] = None
        return (str(error).splitlines() or [type(error).__name__])[0]
    return ''


def _why_not() -> str:
    reason = _import_or_forget('torchvision') or _import_or_forget('mmpretrain.models')
    return reason and (
        f'Classification needs mmpretrain, which cannot be imported here ({reason}): install '
        'onedl-mmpretrain (mmpretrain on the original line of OpenMMLab), and the torchvision that '
        'belongs to the installed torch.'
    )


MMPRETRAIN_ERROR = _why_not()
"""Why classification is not to be had, and what to install; empty where it is."""


def require_mmpretrain() -> None:
    """Stops where mmpretrain cannot be imported, for configs that are of no use without it.

    Raises:
        MissingPackageError: It cannot; the message says what to install.
    """
    if MMPRETRAIN_ERROR:
        raise MissingPackageError(MMPRETRAIN_ERROR)
