"""Copy-paste for pipelines of one image: its objects come from images seen before."""

import copy
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from casvit.errors import DatasetError
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmdet'):
    from mmdet.datasets.transforms import CopyPaste
    from mmdet.registry import TRANSFORMS
    from mmdet.structures.mask import BitmapMasks


@registered_in(TRANSFORMS)
class CachedCopyPaste(BaseTransform):
    """Pastes some objects of an image seen before into an image (Ghiasi et al., CVPR 2021).

    mmdet's ``CopyPaste`` does the pasting. By itself it needs a ``MultiImageMixDataset``, images of
    one size, and bitmaps; this transform stands in any pipeline, as ``CachedMosaic`` does: it keeps
    the last images, cuts or pads them to the size of the present one, and turns polygons into
    bitmaps only when it pastes. Objects keep their place. Regions to ignore are not pasted.

    To be placed after all transforms that change an image's size, and before a
    ``FilterAnnotations`` that drops the objects that are covered completely.

    Required keys: ``img`` (``(H, W, C)``), ``gt_bboxes``, ``gt_bboxes_labels``,
    ``gt_ignore_flags`` and ``gt_masks``; all of them are modified. The masks are
    ``BitmapMasks`` where objects were pasted.

    Args:
        prob (float): Share of the images that get objects. Defaults to 0.5.
        max_num_pasted (int): Most objects to paste into an image. Defaults to 10.
        max_cached_images (int): Number of images to keep, at the size they have in the pipeline.
            Defaults to 20.

    Raises:
        DatasetError: The masks of the objects are not loaded.
    """

    def __init__(
        self, *, prob: float = 0.5, max_num_pasted: int = 10, max_cached_images: int = 20
    ) -> None:
        self.prob = prob
        self.max_num_pasted = max_num_pasted
        self.max_cached_images = max_cached_images
        self._paste = CopyPaste(selected=False)
        self._cache: list[dict[str, Any]] = []

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pastes objects into ``results``, and remembers it as it was before."""
        if 'gt_masks' not in results:
            raise DatasetError(
                'CachedCopyPaste cuts objects out along their masks, which are not loaded: use '
                'LoadAnnotations(with_bbox=True, with_mask=True) in the pipeline.'
            )
        source = self._cache[np.random.randint(len(self._cache))] if self._cache else None
        self._remember(results)
        if source is None or np.random.rand() >= self.prob:
            return results
        pasted = self._chosen(source, results['img'].shape[:2])
        if pasted is None:
            return results
        kind = results['img'].dtype
        results['gt_masks'] = _bitmaps(results['gt_masks'])
        results = self._paste.transform(dict(results, mix_results=[pasted]))
        del results['mix_results']
        results['img'] = results['img'].astype(kind)
        return results

    def _remember(self, results: dict[str, Any]) -> None:
        """Keeps what pasting needs; images without objects are not worth it."""
        usable = np.flatnonzero(~np.asarray(results['gt_ignore_flags'], dtype=bool))
        if not len(usable):
            return
        if len(self._cache) == self.max_cached_images:
            self._cache.pop(np.random.randint(len(self._cache)))
        kept = dict(
            img=results['img'],
            gt_bboxes=results['gt_bboxes'][usable],
            gt_bboxes_labels=results['gt_bboxes_labels'][usable],
            gt_masks=results['gt_masks'][usable],
            gt_ignore_flags=results['gt_ignore_flags'][usable],
        )
        self._cache.append(copy.deepcopy(kept))

    def _chosen(self, source: dict[str, Any], shape: tuple[int, int]) -> dict[str, Any] | None:
        """Some objects of an image, at the same place in one of another size; None if outside."""
        count = len(source['gt_bboxes'])
        number = np.random.randint(1, min(count, self.max_num_pasted) + 1)
        chosen = np.random.choice(count, number, replace=False)
        masks = _fitted(_bitmaps(source['gt_masks'][chosen]).masks, shape)
        inside = masks.any(axis=(1, 2))
        if not inside.any():
            return None
        chosen, bitmaps = chosen[inside], BitmapMasks(masks[inside], *shape)
        return dict(
            img=_fitted(source['img'][None], shape)[0],
            gt_bboxes=bitmaps.get_bboxes(type(source['gt_bboxes'])),
            gt_bboxes_labels=source['gt_bboxes_labels'][chosen],
            gt_masks=bitmaps,
            gt_ignore_flags=source['gt_ignore_flags'][chosen],
        )

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, max_num_pasted={self.max_num_pasted}, '
            f'max_cached_images={self.max_cached_images})'
        )


def _bitmaps(masks: Any) -> Any:
    return masks if isinstance(masks, BitmapMasks) else masks.to_bitmap()


def _fitted(arrays: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Arrays ``(N, H, W, …)``, cut at the right and the bottom, or filled there with zeros."""
    fitted = np.zeros((len(arrays), *shape, *arrays.shape[3:]), arrays.dtype)
    height, width = np.minimum(shape, arrays.shape[1:3])
    fitted[:, :height, :width] = arrays[:, :height, :width]
    return fitted
