"""What a COCO file may lack that a training run needs, and can be completed without a loss.

`finetune` and the repaired copy get the completed content. A run that reads the file itself would
stop, so its check refuses the file with the same sentences.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from casvit.sentences import count_of
from casvit_mm.datasets.formats.coco.file import is_number
from casvit_mm.datasets.object_masks.coding import mask_area, mask_bounds
from casvit_mm.datasets.object_masks.polygons import is_list_of_numbers

# Width and height of the image of a record, or None if it cannot be read.
SizeOf = Callable[[Mapping[str, Any]], tuple[int, int] | None]
Records = list[dict[str, Any]]


def missing_parts(
    content: Mapping[str, Any], encoding: str = '', *, evaluated: bool = True
) -> list[str]:
    """Lists what a run needs and :func:`complete` would add or change.

    Args:
        content: The content of an annotation file.
        encoding: The encoding of the file, if it is not plain UTF-8.
        evaluated: Whether the file is used for evaluation, which needs crowd flags.

    Returns:
        Sentences without a full stop: ``36 annotations have no 'area'``; empty for a complete file.
    """
    found = [f'it is {encoding}'] if encoding else []
    images, annotations = _records(content, 'images'), _records(content, 'annotations')
    found += _said(len(list(_without_name(images))), 'image', "no 'file_name'")
    found += _said(len(list(_without_size(images))), 'image', "no 'width' and 'height'")
    found += _said(sum('\\' in _name(i) for i in images), 'image', 'a name with Windows separators')
    found += _said(sum(map(_lacks_area, annotations)), 'annotation', "no 'area'")
    if evaluated:
        found += _said(sum('iscrowd' not in a for a in annotations), 'annotation', "no 'iscrowd'")
    return found


def complete(content: dict[str, Any], size_of: SizeOf) -> list[str]:
    """Adds what a run needs; changes the records in place.

    Args:
        content: The content of an annotation file.
        size_of: Reads the size of an image.

    Returns:
        What was done, in words; empty if nothing was missing.
    """
    images, annotations = _records(content, 'images'), _records(content, 'annotations')
    done = []
    sized = 0
    for image in _without_size(images):
        if size := size_of(image):
            image['width'], image['height'] = size
            sized += 1
    done += _said(sized, 'image', "no 'width' and 'height': read from the images")
    flags = [a for a in annotations if 'iscrowd' not in a]
    for annotation in flags:
        annotation['iscrowd'] = 0
    done += _said(len(flags), 'annotation', "no 'iscrowd': taken as 0")
    done += _said(_number(annotations), 'annotation', "no 'id': numbered")
    boxes = [a for a in annotations if a.get('bbox') is None]
    for annotation in boxes:
        if bounds := mask_bounds(annotation.get('segmentation')):
            x1, y1, x2, y2 = bounds
            annotation['bbox'] = [x1, y1, x2 - x1, y2 - y1]
    boxed = sum(a.get('bbox') is not None for a in boxes)
    done += _said(boxed, 'annotation', "no 'bbox': taken from the mask")
    areas = 0
    for annotation in annotations:
        if _lacks_area(annotation) and (area := _area(annotation)) is not None:
            annotation['area'] = area
            areas += 1
    done += _said(areas, 'annotation', "no 'area': computed from the mask, or else the box")
    return done


def strip_names(content: dict[str, Any]) -> list[str]:
    """Removes the space around names of categories; those that become equal become one.

    Args:
        content: The content of an annotation file, changed in place.

    Returns:
        What was done, in words.
    """
    done = []
    categories = _records(content, 'categories')
    exact = {name for c in categories if isinstance(name := c.get('name'), str)}
    merged: dict[Any, Any] = {}
    for category in categories:
        name = category.get('name')
        if not isinstance(name, str) or name == name.strip():
            continue
        category['name'] = name.strip()
        done.append(f'the category {name!r} is read as {name.strip()!r}')
        if name.strip() in exact:
            other = next(c for c in categories if c.get('name') == name.strip())
            merged[_hashable(category.get('id'))] = other.get('id')
            content['categories'].remove(category)
        exact.add(name.strip())
    if merged:
        for annotation in _records(content, 'annotations'):
            key = _hashable(annotation.get('category_id'))
            if key in merged:
                annotation['category_id'] = merged[key]
    return done


def _records(content: Mapping[str, Any], key: str) -> Records:
    return [record for record in content.get(key) or () if isinstance(record, dict)]


def _without_size(images: Records) -> Iterator[dict[str, Any]]:
    return (image for image in images if image.get('width') is None or image.get('height') is None)


def _without_name(images: Records) -> Iterator[dict[str, Any]]:
    return (image for image in images if 'file_name' not in image and 'coco_url' in image)


def _number(annotations: Records) -> int:
    """Numbers the annotations that have no id, after those that have one."""
    lacking = [a for a in annotations if 'id' not in a]
    known = [a['id'] for a in annotations if isinstance(a.get('id'), int)]
    for number, annotation in enumerate(lacking, max(known, default=0) + 1):
        annotation['id'] = number
    return len(lacking)


def _lacks_area(annotation: Mapping[str, Any]) -> bool:
    # A boolean is a number to mmdet as well.
    area = annotation.get('area')
    return not isinstance(area, bool) and not is_number(area)


def _area(annotation: Mapping[str, Any]) -> float | None:
    """The area of the mask of an object, or else of its box."""
    area = mask_area(annotation.get('segmentation'))
    box = annotation.get('bbox')
    if area is None and is_list_of_numbers(box) and len(box) == 4:
        area = abs(box[2] * box[3])
    return area


def _name(image: Mapping[str, Any]) -> str:
    name = image.get('file_name')
    return name if isinstance(name, str) else ''


def _hashable(value: object) -> object:
    return value if isinstance(value, (int, float, str)) else repr(value)


def _said(number: int, what: str, lack: str) -> list[str]:
    verb = 'has' if number == 1 else 'have'
    return [f'{count_of(number, what)} {verb} {lack}'] if number else []
