"""A batch as plain data and tensors, which a file can hold without any code, and back."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData, LabelData, PixelData
from torch import Tensor

KIND = 'casvit kind'
"""Key of the kind of an object in the dict that stands for it."""
PLAIN = (str, int, float, bool, type(None))
ELEMENTS: dict[str, type[BaseDataElement]] = {
    each.__name__: each for each in (BaseDataElement, InstanceData, LabelData, PixelData)
}
SAMPLES = {
    'DetDataSample': 'mmdet',
    'SegDataSample': 'mmseg',
    'DataSample': 'mmpretrain',
}
"""Data samples of the toolboxes, and the package of each."""


class NotPlainError(ValueError):
    """A batch holds an object that has no form as plain data."""


def plain(value: Any) -> Any:
    """Reduces a batch to plain data and tensors on the CPU.

    Args:
        value: A batch as it was loaded: containers of tensors, arrays, numbers, text, data samples
            of mmdet, mmseg and mmpretrain, their masks and boxes.

    Raises:
        NotPlainError: It holds something else.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        if KIND in value or not all(type(key) in (str, int) for key in value):
            raise NotPlainError('a dict with unusual keys')
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        items = [plain(each) for each in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, np.ndarray):
        return {KIND: 'array', 'values': _tensor(value)}
    name = type(value).__name__
    if isinstance(value, BaseDataElement) and _element(name) is type(value):
        return {
            KIND: name,
            'metainfo': {key: plain(each) for key, each in value.metainfo_items()},
            'data': {key: plain(each) for key, each in value.items()},
        }
    return _plain_of_mmdet(value, name)


def rebuilt(value: Any) -> Any:
    """Builds a batch again.

    Args:
        value: What :func:`plain` gave, from a file that anyone may have written.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, AssertionError: It is something else.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(rebuilt(each) for each in value)
    if not isinstance(value, dict):
        return value
    if KIND not in value:
        return {key: rebuilt(each) for key, each in value.items()}
    kind = value[KIND]
    if kind == 'array':
        return value['values'].numpy()
    if kind in MASKS_AND_BOXES:
        return MASKS_AND_BOXES[kind](value)
    element = _element(kind)
    if element is None:
        raise ValueError(f'unknown kind {kind!r}')
    metainfo, data = value['metainfo'], value['data']
    for key in (*metainfo, *data):
        method = hasattr(element, key) and not isinstance(getattr(element, key), property)
        if not key.isidentifier() or key.startswith('_') or method:
            raise ValueError(f'a data sample has no field {key!r}')
    built = element(metainfo=rebuilt(metainfo))
    for key, each in data.items():
        setattr(built, key, rebuilt(each))
    return built


def images_in(batch: Any) -> Iterator[str]:
    """The files of the images in a batch, as far as its data samples name them.

    Args:
        batch: The batch.
    """
    if isinstance(batch, BaseDataElement):
        path = batch.metainfo.get('img_path')
        if isinstance(path, (str, Path)):
            yield str(path)
    elif isinstance(batch, (list, tuple, Mapping)):
        for each in batch.values() if isinstance(batch, Mapping) else batch:
            yield from images_in(each)


def not_finite_in(batch: Any, place: str = 'batch') -> Iterator[str]:
    """Where a batch has values that are NaN or infinite.

    Args:
        batch: The batch.
        place: Its name.
    """
    if isinstance(batch, Tensor):
        if batch.is_floating_point() and not bool(batch.isfinite().all()):
            yield place
    elif isinstance(batch, (list, tuple)):
        for index, each in enumerate(batch):
            yield from not_finite_in(each, f'{place}.{index}')
    elif isinstance(batch, (Mapping, BaseDataElement)):
        for key, each in batch.items():
            yield from not_finite_in(each, f'{place}.{key}')
    elif isinstance(getattr(batch, 'tensor', None), Tensor):
        yield from not_finite_in(batch.tensor, place)


def size_of_tensors(value: Any) -> int:
    """Bytes of all tensors in plain data.

    Args:
        value: The data.
    """
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, (list, tuple, dict)):
        items = value.values() if isinstance(value, dict) else value
        return sum(map(size_of_tensors, items))
    return 0


def _element(name: Any) -> type[BaseDataElement] | None:
    """The class of a data sample or of a part of one; None if there is none of this name."""
    if not isinstance(name, str):
        return None
    if name in SAMPLES:
        # Fixed names: nothing is imported because a file asks for it by path.
        structures = __import__(f'{SAMPLES[name]}.structures', fromlist=[name])
        return getattr(structures, name)
    return ELEMENTS.get(name)


def _tensor(array: np.ndarray) -> Tensor:
    try:
        return torch.from_numpy(np.ascontiguousarray(array).copy())
    except TypeError as error:
        raise NotPlainError(f'an array of {array.dtype}') from error


def _plain_of_mmdet(value: Any, name: str) -> dict[str, Any]:
    size = dict(height=getattr(value, 'height', 0), width=getattr(value, 'width', 0))
    if name == 'BitmapMasks':
        return {KIND: name, 'masks': _tensor(value.masks), **size}
    if name == 'PolygonMasks':
        # In one tensor: each would be a record of the file.
        parts = [part for polygons in value.masks for part in polygons]
        points = np.concatenate(parts) if parts else np.zeros(0)
        lengths = [[len(part) for part in polygons] for polygons in value.masks]
        return {KIND: name, 'points': _tensor(points), 'lengths': lengths, **size}
    if name == 'HorizontalBoxes':
        return {KIND: name, 'boxes': plain(value.tensor)}
    raise NotPlainError(f'an object of type {name}')


def _bitmaps(value: dict[str, Any]) -> Any:
    from mmdet.structures.mask import BitmapMasks

    return BitmapMasks(value['masks'].numpy(), value['height'], value['width'])


def _polygons(value: dict[str, Any]) -> Any:
    from mmdet.structures.mask import PolygonMasks

    points, place, masks = value['points'].numpy(), 0, []
    for lengths in value['lengths']:
        polygons = []
        for length in lengths:
            polygons.append(points[place : place + length].copy())
            place += length
        masks.append(polygons)
    return PolygonMasks(masks, value['height'], value['width'])


def _boxes(value: dict[str, Any]) -> Any:
    from mmdet.structures.bbox import HorizontalBoxes

    return HorizontalBoxes(value['boxes'])


MASKS_AND_BOXES: dict[str, Callable[[dict[str, Any]], Any]] = {
    'BitmapMasks': _bitmaps,
    'PolygonMasks': _polygons,
    'HorizontalBoxes': _boxes,
}
