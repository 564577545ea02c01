"""Multi-scale batches: each batch at one of several sizes, the same one in all processes."""

from collections.abc import Iterator, Sized
from itertools import cycle, islice
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import DATA_SAMPLERS, TRANSFORMS
from torch.utils.data import Sampler

from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in


class SizedIndex(int):
    """Index of a sample that also carries the image size to load it at.

    The size survives wherever an index goes: to worker processes, through the dataset into
    ``results['sample_idx']``, and through the arithmetic of mmengine's ``RepeatDataset`` and
    ``ConcatDataset``.

    Args:
        index: The index.
        size: Side of the image in pixels.
    """

    size: int

    def __new__(cls, index: int, size: int) -> 'SizedIndex':
        self = super().__new__(cls, index)
        self.size = size
        return self

    # Pickle passes both to __new__, which takes one more than that of int.
    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self), self.size

    def __mod__(self, other: int) -> 'SizedIndex':
        return SizedIndex(int(self) % other, self.size)

    def __sub__(self, other: int) -> 'SizedIndex':
        return SizedIndex(int(self) - other, self.size)


@registered_in(DATA_SAMPLERS)
class MultiScaleBatchSampler(Sampler):
    """Batches of several sizes, for :class:`MultiScaleRandomResizedCrop`.

    An epoch is divided into batches of each size in turn, which come in random order: each index
    is used once, and every epoch has the same number of batches, on which schedules rely. Smaller
    sizes have larger batches, so the number of pixels per batch stays about constant; larger sizes
    keep the batch size of the base size, for which the learning rate is set. Processes whose
    samplers have the same length, seed and epoch use the same size at every step.

    Args:
        sampler (Sampler): Source of the indices. Its ``seed`` and ``epoch``, which mmengine's
            DefaultSampler has, determine the order of the sizes.
        batch_size (int): Batch size at the base size.
        base_size (int): Side of an image in pixels. Defaults to 224.
        scale_range (tuple[int, int]): Smallest and largest side. Defaults to (160, 320).
        num_scales (int): Number of sides, spaced evenly over this range, besides the base size.
            Defaults to 5.
        divisor (int): Sides are rounded to multiples of it. Defaults to 32.
        drop_last (bool): Whether to drop a last batch that is not full. Defaults to False.

    Raises:
        ValueError: An argument is out of range, or the sampler has no length.

    Source: CAS-ViT, arXiv 2408.03703, whose published training samples scales this way; the idea is
    from "MobileViT", arXiv 2110.02178, section 3.3.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        base_size: int = 224,
        scale_range: tuple[int, int] = (160, 320),
        num_scales: int = 5,
        divisor: int = 32,
        drop_last: bool = False,
    ) -> None:
        if not isinstance(sampler, Sized):
            raise ValueError(f'the sampler {type(sampler).__name__} has no length: it needs one')
        if min(batch_size, num_scales, divisor) < 1 or not divisor <= scale_range[0]:
            raise ValueError(
                f'batch_size={batch_size}, num_scales={num_scales}, divisor={divisor}, '
                f'scale_range={scale_range}: expected at least 1, and sides of at least the divisor'
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.base_size = _rounded(base_size, divisor)
        between = np.linspace(*scale_range, num_scales)
        self.sizes = sorted({self.base_size, *(_rounded(side, divisor) for side in between)})
        self.batches = _divide(len(sampler), self._cycle(), drop_last)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SizedIndex]]:
        seed = getattr(self.sampler, 'seed', None) or 0
        rng = np.random.default_rng([seed, getattr(self.sampler, 'epoch', 0)])
        indices = iter(self.sampler)
        for position in rng.permutation(len(self.batches)):
            size, count = self.batches[position]
            yield [SizedIndex(index, size) for index in islice(indices, count)]

    def _cycle(self) -> list[tuple[int, int]]:
        """Sizes and their batch sizes, the base size first: a small dataset has at least that."""
        ordered = sorted(self.sizes, key=lambda size: size != self.base_size)
        pixels = self.base_size**2 * self.batch_size
        return [(size, max(self.batch_size, pixels // size**2)) for size in ordered]


def _rounded(side: float, divisor: int) -> int:
    return max(int(side / divisor + 0.5), 1) * divisor


def _divide(samples: int, sizes: list[tuple[int, int]], drop_last: bool) -> list[tuple[int, int]]:
    """Divides samples into batches, taking the sizes in turn: pairs (size, number of samples)."""
    batches: list[tuple[int, int]] = []
    for size, batch in cycle(sizes):
        count = min(batch, samples)
        if count == 0 or (count < batch and drop_last):
            break
        batches.append((size, count))
        samples -= count
    return batches


@registered_in(TRANSFORMS)
class MultiScaleRandomResizedCrop(BaseTransform):
    """mmpretrain's RandomResizedCrop, at the size that :class:`MultiScaleBatchSampler` sets.

    **Required Keys:** img; sample_idx, if it carries a size.

    **Modified Keys:** img, img_shape

    Args:
        scale (int | tuple[int, int]): Size of samples that carry none, because another sampler is
            used.
        **kwargs: As for mmpretrain's ``RandomResizedCrop``.
    """

    def __init__(self, scale: int | tuple[int, int], **kwargs: Any) -> None:
        # mmpretrain is optional for the rest of this package.
        with toolbox('mmpretrain'):
            from mmpretrain.datasets import RandomResizedCrop

        self.crop = RandomResizedCrop(scale, **kwargs)
        self.scale = self.crop.scale

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crops and resizes.

        Args:
            results: The results of the pipeline so far.

        Returns:
            The results with the new image.
        """
        index = results.get('sample_idx')
        self.crop.scale = (index.size,) * 2 if isinstance(index, SizedIndex) else self.scale
        return self.crop(results)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.crop!r})'
