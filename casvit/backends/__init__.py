"""What runs a model: a small module for each runtime, chosen by the suffix of the model's file."""

import importlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

import numpy as np

from casvit.errors import UserError
from casvit.results import Colour, Result

MODULES = {
    '.pth': 'casvit.backends.pytorch',
    '.pt': 'casvit.backends.pytorch',
    '.ckpt': 'casvit.backends.pytorch',
    '.safetensors': 'casvit.backends.pytorch',
}
"""The module of each suffix. Its function ``load`` takes the file and a Predictor's options."""


@runtime_checkable
class Backend(Protocol):
    """A model that is ready to predict.

    Attributes:
        task: 'detection', 'instance', 'semantic' or 'classification'.
        classes: Names of its classes.
        palette: RGB colour of each class.
    """

    task: str
    classes: Sequence[str]
    palette: Sequence[Colour]

    def __call__(self, images: Sequence[np.ndarray]) -> Sequence[Result]:
        """Predicts.

        Args:
            images: RGB images of one size. Shape: ``(H, W, 3)`` each, uint8.

        Returns:
            The result of each.
        """


class UnknownModelError(UserError, ValueError):
    """A file is of no kind that a model is known to have."""


def load_backend(model: str, options: dict[str, Any]) -> Backend:
    """Loads a model with the runtime that its file is for.

    Args:
        model: The file; its suffix decides.
        options: Those of :class:`casvit.Predictor` that are about the model.

    Raises:
        UnknownModelError: The suffix is not known; the message lists those that are.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    suffix = PurePath(model).suffix.lower()
    if suffix not in MODULES:
        raise UnknownModelError(
            f'The model {model} is of an unknown kind: expected a file that ends in '
            f'{", ".join(MODULES)}.'
        )
    return importlib.import_module(MODULES[suffix]).load(model, **options)
