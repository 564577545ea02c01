"""The base class of all results: an image, its classes, and drawing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casvit.drawing.palette import Colour
from casvit.drawing.style import STYLE, Style
from casvit.errors import UserError
from casvit.inputs.images import read_image, write_image

CategoryIds = Sequence[int] | Mapping[str, int] | None
# Longer side, in pixels, of images shown in a notebook.
SHOWN = 1200


class ResultError(UserError, ValueError):
    """A result does not support an operation; the message says why and what to do."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result(ABC):
    """The predictions for one image.

    Attributes:
        classes: Names of all classes of the model.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        palette: RGB colour of each class; may be empty.
        image: The image, ``(H, W, 3)`` uint8 RGB; None if it is to be read from its file.
        file: The file of the image; empty if there is none.
        tile: Side of the tiles that were predicted, in pixels; None for the whole image.
    """

    classes: Sequence[str]
    height: int
    width: int
    palette: Sequence[Colour] = ()
    image: np.ndarray | None = None
    file: str = ''
    tile: int | None = None

    def draw(self, style: Style = STYLE) -> np.ndarray:
        """Draws the result on its image, in the size of the image.

        Args:
            style: Width of lines, height of letters, and what to draw.

        Returns:
            A new image. Shape: ``(H, W, 3)``, uint8 RGB.

        Raises:
            ResultError: The result has no image, or its file now holds another one.
            ImageError: The file of the image can no longer be read.
        """
        from casvit.drawing.draw import draw

        return draw(self, self._its_image(), style=style)

    @abstractmethod
    def to_records(self, file: str) -> list[dict[str, Any]]:
        """Records for JSON.

        Args:
            file: Name of the image.
        """

    def save(self, path: str | Path, style: Style = STYLE) -> None:
        """Draws the result on its image and writes it to a file.

        Small images are enlarged, so that names are legible. Below a semantic mask is a legend of
        its classes, and below objects without room for their labels one of theirs.

        Args:
            path: The file; its suffix decides the type: .jpg, .png, .webp, .bmp, .tif.
            style: Width of lines, height of letters, and what to draw.

        Raises:
            ResultError: As for :meth:`draw`.
            ImageError: The file cannot be written, or its suffix is not supported.
        """
        from casvit.drawing.files import drawn_for_file

        write_image(drawn_for_file(self, self._its_image(), style), path)

    def _its_image(self) -> np.ndarray:
        if self.image is None and not self.file:
            raise ResultError(
                'This result has no image to draw on: add one with '
                'dataclasses.replace(result, image=...).'
            )
        image = read_image(self.file) if self.image is None else self.image
        if image.shape[:2] != (self.height, self.width):
            raise ResultError(
                f'This result is for an image of {self.width} x {self.height} pixels, but '
                f'{self.file or "its image"} has {image.shape[1]} x {image.shape[0]}.'
            )
        return image

    def _repr_png_(self) -> bytes | None:
        """The image that a notebook shows."""
        if self.image is None and not self.file:
            return None
        from casvit.drawing.files import drawn_for_file

        shown, content = Image.fromarray(drawn_for_file(self, self._its_image())), BytesIO()
        shown.thumbnail((SHOWN, SHOWN))
        shown.save(content, 'PNG')
        return content.getvalue()

    def _repr(self, what: str) -> str:
        name = f' {self.file}' if self.file else ''
        return f'<{type(self).__name__}{name} {self.width}x{self.height}: {what or "nothing"}>'

    def _category_ids(self, given: CategoryIds) -> list[int]:
        """The category id of each class."""
        if given is None:
            return list(range(1, len(self.classes) + 1))
        if isinstance(given, Mapping):
            if missing := [name for name in self.classes if name not in given]:
                raise ResultError(f'category_ids has no id for {", ".join(missing[:5])}.')
            return [given[name] for name in self.classes]
        if len(given) != len(self.classes):
            raise ResultError(f'category_ids has {len(given)} ids for {len(self.classes)} classes.')
        return list(given)
