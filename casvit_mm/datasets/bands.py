"""Steps of data pipelines for images that are not RGB: grey, 16-bit, four bands and more."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.fileio import get
from mmengine.registry import TRANSFORMS

from casvit.errors import DatasetError
from casvit.inputs.bands import decode_bands
from casvit.sentences import count_of
from casvit_mm.registration import registered_in


@registered_in(TRANSFORMS)
class LoadBands(LoadImageFromFile):
    """Loads an image of any number of bands, in place of ``LoadImageFromFile``.

    Reads .npy, TIFF, and whatever OpenCV reads, in the stored order; colour images are RGB.

    Required key: ``img_path``. Adds ``img`` (``(H, W, C)``; uint8 if the file is, else float32),
    ``img_shape`` and ``ori_shape``.

    Args:
        bands (Sequence[int], optional): Indices of the bands to use, in this order. Defaults to
            all.
        backend_args (dict, optional): As for ``LoadImageFromFile``.

    Raises:
        ImageError: A file cannot be read.
        DatasetError: A file has fewer bands than ``bands`` asks for.
    """

    def __init__(
        self, bands: Sequence[int] | None = None, *, backend_args: dict[str, Any] | None = None
    ) -> None:
        super().__init__(color_type='unchanged', backend_args=backend_args)
        self.bands = None if bands is None else list(bands)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Loads the image that ``results['img_path']`` names."""
        path = results['img_path']
        pixels = decode_bands(get(path, backend_args=self.backend_args), str(path))
        if self.bands is not None:
            if max(self.bands, default=0) >= pixels.shape[-1]:
                raise DatasetError(
                    f'LoadBands is to use the bands {self.bands}, counted from 0, but {path} has '
                    f'{pixels.shape[-1]}.'
                )
            pixels = pixels[..., self.bands]
        results['img'] = usable(pixels)
        results['img_shape'] = results['ori_shape'] = pixels.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(bands={self.bands})'


def usable(pixels: np.ndarray) -> np.ndarray:
    """Bands of a type that OpenCV and torch take: uint8 as it is, any other as float32."""
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)


@registered_in(TRANSFORMS)
class NormalizeBands(BaseTransform):
    """Subtracts the mean of each band and divides by its standard deviation.

    In place of the ``mean`` and ``std`` of a data preprocessor, which may have only 1 or 3 values.
    Changes ``img`` (``(H, W, C)`` or ``(H, W)``).

    Args:
        mean (Sequence[float]): The mean of each band, in the range of its values.
        std (Sequence[float]): The standard deviation of each band.

    Raises:
        ValueError: There is not one mean and one standard deviation, above 0, for each band.
        DatasetError: An image has another number of bands.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(
                f'mean={list(mean)} and std={list(std)} have to be as long as each other, and '
                'std above 0'
            )
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Normalises ``results['img']``."""
        pixels = results['img']
        # OpenCV drops the axis of a single band when it resizes an image.
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.shape[-1] != len(self.mean):
            name = f' {results["img_path"]}' if results.get('img_path') else ''
            raise DatasetError(
                f'The image{name} has {count_of(pixels.shape[-1], "band")}, but NormalizeBands is '
                f'for images with {len(self.mean)}.'
            )
        results['img'] = (pixels - self.mean) / self.std
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(mean={self.mean.tolist()}, std={self.std.tolist()})'
