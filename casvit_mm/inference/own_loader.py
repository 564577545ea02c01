"""Reads images as the pipeline of a config does, for models of images that are not RGB."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from casvit.errors import UserError
from casvit.inputs.bands import as_colours
from casvit.inputs.images import ImageError, ImageLike
from casvit.sentences import first_line


class OwnLoader:
    """The loading step of a pipeline, for files; arrays are taken as they are.

    Args:
        step: The config of the step.
        scope: The toolbox of the config.
    """

    def __init__(self, step: Mapping[str, Any], scope: str) -> None:
        with DefaultScope.overwrite_default_scope(scope):
            self.step = TRANSFORMS.build(dict(step))

    def __call__(self, image: ImageLike) -> np.ndarray:
        """Reads an image.

        Args:
            image: A file; or a PIL image or an array with the bands in the order of the pipeline.

        Returns:
            Shape: ``(H, W)`` or ``(H, W, C)``.

        Raises:
            ImageError: It cannot be read.
        """
        name = type(self.step).__name__
        if isinstance(image, (str, os.PathLike)):
            path = os.fspath(image)
            try:
                return self.step(dict(img_path=path))['img']
            except ImageError:
                raise
            # Steps may raise any error for a file of another kind.
            except Exception as error:
                reason = str(error) if isinstance(error, UserError) else _reason(error)
                raise ImageError(
                    f'The image {path} cannot be read with {name}, as the config says: {reason}'
                ) from error
        pixels = np.asarray(image) if isinstance(image, Image.Image) else image
        if not isinstance(pixels, np.ndarray) or pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise ImageError(
                f'This model takes what {name} loads: a file, or an array of shape (H, W, bands), '
                f'not {_form(pixels)}.'
            )
        as_floats = getattr(self.step, 'to_float32', False) or pixels.dtype != np.uint8
        return pixels.astype(np.float32) if as_floats else pixels

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """An image to draw on. Shape: ``(H, W, 3)``, uint8 RGB."""
        return as_colours(pixels)


def _reason(error: Exception) -> str:
    return f'{first_line(error)}.'


def _form(image: Any) -> str:
    shape = getattr(image, 'shape', None)
    return type(image).__name__ if shape is None else f'one of shape {tuple(shape)}'
