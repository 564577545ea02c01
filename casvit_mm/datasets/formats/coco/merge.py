"""Merges several COCO annotation files of one split."""

import os
from pathlib import Path
from typing import Any

from casvit_mm.datasets.formats.coco.file import is_id
from casvit_mm.datasets.formats.dataset import ObjectSplit
from casvit_mm.datasets.places import locate


def merged(root: Path, splits: list[ObjectSplit]) -> ObjectSplit:
    """Merges splits that were read from several files.

    Images of the same path become one, and so do categories of the same name. Ids are given anew;
    issues still name the original file and record.

    Args:
        root: The folder that file names become relative to, if all images lie in it.
        splits: The splits; each is read from a file.
    """
    base = Path(os.path.commonpath([root, *(split.images for split in splits)]))
    images: list[Any] = []
    categories: list[Any] = []
    annotations: list[Any] = []
    image_ids: dict[str, int] = {}
    category_ids: dict[str, int] = {}
    for split in splits:
        keys: dict[str, dict[Any, int]] = dict(images={}, categories={})
        for index, record in enumerate(split.content['categories']):
            name = record.get('name') if isinstance(record, dict) else None
            if not isinstance(name, str) or not is_id(record.get('id')):
                categories.append(_with_source(split, 'categories', index, record))
                continue
            if name not in category_ids:
                category_ids[name] = len(category_ids) + 1
                new = _with_source(split, 'categories', index, record)
                categories.append({**new, 'id': category_ids[name]})
            keys['categories'].setdefault(record['id'], category_ids[name])
        for index, record in enumerate(split.content['images']):
            name = record.get('file_name') if isinstance(record, dict) else None
            if not isinstance(name, str) or not is_id(record.get('id')):
                images.append(_with_source(split, 'images', index, record))
                continue
            path = os.path.relpath(os.path.normpath(split.images / name), base).replace(os.sep, '/')
            if path not in image_ids:
                image_ids[path] = len(image_ids) + 1
                new = _with_source(split, 'images', index, record)
                images.append({**new, 'id': image_ids[path], 'file_name': path})
            keys['images'].setdefault(record['id'], image_ids[path])
        for index, record in enumerate(split.content.get('annotations') or ()):
            new = _with_source(split, 'annotations', index, record)
            if isinstance(new, dict):
                new['id'] = len(annotations) + 1
                for key, group in (('image_id', 'images'), ('category_id', 'categories')):
                    value = record.get(key)
                    if is_id(value):
                        new[key] = keys[group].get(value, f'{value} of {split.file.name}')
            annotations.append(new)
    content = dict(images=images, annotations=annotations, categories=categories)
    return ObjectSplit(content, splits[0].file, base)


def _with_source(split: ObjectSplit, group: str, index: int, record: Any) -> Any:
    if not isinstance(record, dict):
        return record
    file, place = locate(str(split.file), group, index, record)
    return {**record, 'source': dict(file=file, record=place)}
