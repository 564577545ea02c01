"""Backends that run models: one small module per runtime, chosen by the suffix of the file."""

import importlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

import numpy as np

from casvit.errors import UserError
from casvit.exported.formats import FORMATS
from casvit.inputs.images import ImageLike
from casvit.results import Colour, Result
from casvit.weights.find import local_path, named_weights

MODULES = {
    '.pth': 'casvit.backends.pytorch',
    '.pt': 'casvit.backends.pytorch',
    '.ckpt': 'casvit.backends.pytorch',
    '.safetensors': 'casvit.backends.pytorch',
    **{each.suffix: each.backend for each in FORMATS.values() if each.backend},
}
"""The module for each suffix. Its function ``load`` takes the file and the Predictor's options."""


class Loader(Protocol):
    """Reads images that are not RGB, as a model wants them."""

    def __call__(self, image: ImageLike) -> np.ndarray:
        """Reads an image. Shape: ``(H, W)`` or ``(H, W, C)``, of any type.

        Raises:
            ImageError: The image cannot be read, or its type is not supported.
        """

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """The image to draw on. Shape: ``(H, W, 3)``, uint8 RGB."""


@runtime_checkable
class Backend(Protocol):
    """A model that is ready for inference.

    A backend for images that are not RGB also has an attribute ``loader``, a :class:`Loader`; it
    is called with the images that the loader reads.
    """

    @property
    def task(self) -> str:
        """'detection', 'instance', 'semantic' or 'classification'."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of its classes."""

    @property
    def palette(self) -> Sequence[Colour]:
        """RGB colour of each class."""

    def __call__(self, images: Sequence[np.ndarray]) -> Sequence[Result]:
        """Runs inference on a batch.

        Args:
            images: RGB images of the same size. Shape: ``(H, W, 3)`` each, uint8.

        Returns:
            The result of each image.
        """


class UnknownModelError(UserError, ValueError):
    """The type of a model file is not supported."""


def load_backend(model: str, options: dict[str, Any]) -> Backend:
    """Loads a model with the runtime for its file type.

    Args:
        model: The file, or ``casvit://NAME`` for published weights, whose config is known; its
            suffix decides.
        options: The options of :class:`casvit.Predictor` that concern the model.

    Raises:
        UnknownModelError: The suffix is not supported; the message lists those that are.
        CheckpointError: There are no published weights of that name, or they are not here.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    weights = named_weights(model)
    if weights is not None:
        model = local_path(model)
        if options.get('config') is None:
            options = {**options, 'config': weights.config}
    suffix = PurePath(model).suffix.lower()
    if suffix not in MODULES:
        raise UnknownModelError(
            f'The type of the model {model} is not supported: expected a file that ends in '
            f'{", ".join(MODULES)}.'
        )
    return importlib.import_module(MODULES[suffix]).load(model, **options)
