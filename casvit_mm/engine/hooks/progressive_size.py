"""Smaller images at the start of training, so that the first steps cost less."""

from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor
from torch.nn import functional

from casvit.errors import UserError
from casvit_mm.models.wrappers import unwrap
from casvit_mm.registration import registered_in


class NotASegmentorError(UserError, ValueError):
    """A hook for semantic segmentation was given another model; the message says which."""


@registered_in(HOOKS)
class ProgressiveSizeHook(Hook):
    """Shrinks the images and semantic masks of a segmentor's batches up to an iteration.

    Early in training a model learns as much from small images, and their steps cost less. Use
    several of these hooks, each with its own iterations, for several sizes. If the data
    preprocessor pads to a fixed size, that size is scaled as well. Validation always uses the full
    size.

    Args:
        scale (float): Factor for the sides of the images from the pipeline: above 0, below 1.
        end (int): First iteration, counted from 0, at full size again.
        begin (int): First iteration at the smaller size. Defaults to 0.

    Raises:
        ValueError: ``scale`` or the iterations are not as described.

    Source: "progressive learning", EfficientNetV2, arXiv 2104.00298, section 4.
    """

    def __init__(self, scale: float, end: int, begin: int = 0) -> None:
        if not 0 < scale < 1:
            raise ValueError(f'scale={scale!r} must be above 0 and below 1')
        if not 0 <= begin < end:
            raise ValueError(f'begin={begin!r} must be at least 0 and below end={end!r}')
        self.scale = scale
        self.begin = begin
        self.end = end
        self._full_size: tuple[int, int] | None = None

    def before_train(self, runner: Runner) -> None:
        """Remembers the size that the data preprocessor pads to.

        Raises:
            NotASegmentorError: The model has a data preprocessor of another kind.
        """
        preprocessor = data_preprocessor(runner)
        if not hasattr(preprocessor, 'size'):
            raise NotASegmentorError(
                'ProgressiveSizeHook is for semantic segmentation, but this model has a '
                f'{type(preprocessor).__name__}. Remove the hook from custom_hooks.'
            )
        self._full_size = preprocessor.size

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        """Shrinks a batch in place."""
        # The data preprocessor refuses a batch that a pipeline has not packed.
        if not self.begin <= runner.iter < self.end or 'inputs' not in data_batch:
            return
        inputs, samples = data_batch['inputs'], data_batch['data_samples']
        for index, (image, sample) in enumerate(zip(inputs, samples, strict=True)):
            height, width = self._small(image.shape[-2:])
            inputs[index] = shrunk_image(image, height, width)
            shrink_masks(sample, height, width)
        preprocessor = data_preprocessor(runner)
        if preprocessor.size is not None:
            preprocessor.size = self._small(preprocessor.size)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> None:
        """Restores the size that the data preprocessor pads to."""
        data_preprocessor(runner).size = self._full_size

    def after_rewind(self, runner: Runner) -> None:
        """Restores it as well: the step before was not ended."""
        data_preprocessor(runner).size = self._full_size

    def _small(self, sides: Sequence[int]) -> tuple[int, int]:
        height, width = (max(1, round(side * self.scale)) for side in sides)
        return height, width


def data_preprocessor(runner: Runner) -> BaseDataPreprocessor:
    """The data preprocessor of the model that a run trains."""
    model = unwrap(runner.model)
    return model.data_preprocessor


def shrunk_image(image: Tensor, height: int, width: int) -> Tensor:
    """Shrinks an image with antialiasing, keeping its dtype.

    Args:
        image: Shape: ``(C, H, W)``.
        height: At most H.
        width: At most W.
    """
    small = functional.interpolate(
        image[None].float(), size=(height, width), mode='bilinear', antialias=True
    )[0]
    if not image.dtype.is_floating_point:
        small = small.round().clamp(0, torch.iinfo(image.dtype).max)
    return small.to(image.dtype)


def shrink_masks(sample: BaseDataElement, height: int, width: int) -> None:
    """Resizes the semantic masks of a sample in place, with nearest-neighbour interpolation.

    Args:
        sample: The data sample that mmseg packs with an image.
        height: New height in pixels.
        width: New width in pixels.
    """
    for name, value in sample.items():
        if isinstance(value, PixelData):
            small = functional.interpolate(
                value.data[None].float(), size=(height, width), mode='nearest-exact'
            )[0]
            setattr(sample, name, PixelData(data=small.to(value.data.dtype)))
    sample.set_metainfo(dict(img_shape=(height, width)))
