"""Ways to damage a dataset, each with the issue that it must cause."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image


def some_image(content, rng):
    return int(rng.integers(len(content['images'])))


def some_annotation(content, rng):
    return int(rng.integers(len(content['annotations'])))


def image_of(content, index):
    key = content['annotations'][index]['image_id']
    return next(image for image in content['images'] if image['id'] == key)


# Each damages the content of a COCO file at a random place, and returns that place.


def lacks_a_field(content, rng):
    group = ['images', 'annotations', 'categories'][rng.integers(3)]
    fields = dict(
        images=['id', 'file_name', 'width', 'height'],
        annotations=['id', 'image_id', 'category_id', 'bbox'],
        categories=['id', 'name'],
    )[group]
    index = int(rng.integers(len(content[group])))
    del content[group][index][fields[rng.integers(len(fields))]]
    return group, index


def has_a_field_of_another_kind(content, rng):
    group, field, value = [
        ('images', 'width', 'wide'),
        ('images', 'height', -3),
        ('images', 'file_name', None),
        ('annotations', 'bbox', [1, 2, 3]),
        ('annotations', 'bbox', 'all'),
        ('annotations', 'image_id', [1]),
        ('categories', 'name', 7),
    ][rng.integers(7)]
    index = int(rng.integers(len(content[group])))
    content[group][index][field] = value
    return group, index


def is_no_object(content, rng):
    index = some_annotation(content, rng)
    content['annotations'][index] = [None, 3, 'text'][rng.integers(3)]
    return 'annotations', index


def repeats_an_id(content, rng):
    group = ['images', 'annotations', 'categories'][rng.integers(3)]
    index = int(rng.integers(1, len(content[group])))
    content[group][index]['id'] = content[group][int(rng.integers(index))]['id']
    return group, index


def repeats_a_name(content, rng):
    index = int(rng.integers(1, len(content['categories'])))
    earlier = content['categories'][int(rng.integers(index))]
    content['categories'][index]['name'] = earlier['name']
    return 'categories', index


def belongs_to_no_image(content, rng):
    index = some_annotation(content, rng)
    content['annotations'][index]['image_id'] = 10**6
    return 'annotations', index


def belongs_to_no_category(content, rng):
    index = some_annotation(content, rng)
    content['annotations'][index]['category_id'] = 999
    return 'annotations', index


def has_an_empty_box(content, rng):
    index = some_annotation(content, rng)
    content['annotations'][index]['bbox'][2 + rng.integers(2)] = 0
    return 'annotations', index


def has_a_nan_box(content, rng):
    index = some_annotation(content, rng)
    value = [float('nan'), float('inf'), -float('inf')][rng.integers(3)]
    content['annotations'][index]['bbox'][rng.integers(4)] = value
    return 'annotations', index


def has_a_box_outside(content, rng):
    index = some_annotation(content, rng)
    image, box = image_of(content, index), content['annotations'][index]['bbox']
    side = rng.integers(4)
    box[side % 2] = [-box[2] - 5, -box[3] - 5, image['width'], image['height']][side]
    return 'annotations', index


def has_a_swapped_box(content, rng):
    index = some_annotation(content, rng)
    box = content['annotations'][index]['bbox']
    axis = int(rng.integers(2))
    box[axis], box[axis + 2] = box[axis] + box[axis + 2], -box[axis + 2]
    return 'annotations', index


def has_a_box_partly_outside(content, rng):
    index = some_annotation(content, rng)
    image, box = image_of(content, index), content['annotations'][index]['bbox']
    box[2] = image['width'] - box[0] + 10
    return 'annotations', index


def has_a_mask_of_another_size(content, rng):
    index = some_annotation(content, rng)
    image = image_of(content, index)
    height, width = image['height'] + 2, image['width']
    content['annotations'][index]['segmentation'] = dict(
        size=[height, width], counts=[10, 20, height * width - 30]
    )
    return 'annotations', index


def has_a_broken_mask(content, rng):
    index = some_annotation(content, rng)
    image = image_of(content, index)
    size = [image['height'], image['width']]
    content['annotations'][index]['segmentation'] = [
        dict(size=size, counts=[1, 2]),
        dict(size=size),
        dict(counts=[3]),
        'mask',
        [['a', 'b']],
        [3, 4, 5],
    ][rng.integers(6)]
    return 'annotations', index


def has_too_few_points(content, rng):
    index = some_annotation(content, rng)
    x, y = content['annotations'][index]['bbox'][:2]
    content['annotations'][index]['segmentation'] = [[x, y, x + 3, y + 3]]
    return 'annotations', index


def crosses_itself(content, rng):
    index = some_annotation(content, rng)
    x, y, w, h = content['annotations'][index]['bbox']
    content['annotations'][index]['segmentation'] = [[x, y, x + w, y + h, x + w, y, x, y + h]]
    return 'annotations', index


def is_a_crowd(content, rng):
    index = some_annotation(content, rng)
    content['annotations'][index]['iscrowd'] = 1
    return 'annotations', index


def has_no_area(content, rng):
    index = some_annotation(content, rng)
    content['annotations'][index]['area'] = [0, -4][rng.integers(2)]
    return 'annotations', index


def is_listed_twice(content, rng):
    index = int(rng.integers(1, len(content['images'])))
    earlier = content['images'][int(rng.integers(index))]
    content['images'][index]['file_name'] = earlier['file_name']
    return 'images', index


def states_another_size(content, rng):
    index = some_image(content, rng)
    content['images'][index]['width'] += 40
    return 'images', index


RECORDS = {
    lacks_a_field: 'broken-record',
    has_a_field_of_another_kind: 'broken-record',
    is_no_object: 'broken-record',
    repeats_an_id: 'double-id',
    repeats_a_name: 'double-name',
    belongs_to_no_image: 'unknown-image',
    belongs_to_no_category: 'unknown-category',
    has_an_empty_box: 'empty-box',
    has_a_nan_box: 'nan-box',
    has_a_box_outside: 'outside-box',
    has_a_swapped_box: 'swapped-box',
    has_a_box_partly_outside: 'partly-outside',
    has_a_mask_of_another_size: 'rle-size',
    has_a_broken_mask: 'broken-mask',
    has_too_few_points: 'few-points',
    crosses_itself: 'self-crossing',
    is_a_crowd: 'crowd',
    has_no_area: 'no-area',
    is_listed_twice: 'listed-twice',
    states_another_size: 'picture-size',
}


# Each damages an image file.


def remove(path: Path, rng) -> None:
    path.unlink()


def empty(path: Path, rng) -> None:
    path.write_bytes(b'')


def overwrite_with_text(path: Path, rng) -> None:
    path.write_text('This is no image.\n' * 20)


def truncate(path: Path, rng) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * rng.uniform(0.4, 0.9))])


def resize(path: Path, rng) -> None:
    with Image.open(path) as image:
        other = image.resize((image.width + 7, image.height))
    other.save(path)


def tag_as_rotated(path: Path, rng) -> None:
    """Sets an EXIF orientation that keeps the width and height of the image."""
    with Image.open(path) as image:
        image.load()
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(2, 5))
    image.save(path, exif=exif)


def make_a_copy_of(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


IMAGES = {
    remove: 'missing-picture',
    empty: 'unreadable-picture',
    overwrite_with_text: 'unreadable-picture',
    truncate: 'unreadable-picture',
    resize: 'picture-size',
    tag_as_rotated: 'rotated-picture',
}


# Each damages a semantic mask with classes from 0.


def set_a_value_outside(path: Path, rng, side: int = 8) -> None:
    """A run, which resizes, may not see a single pixel."""
    labels = np.array(Image.open(path))
    y, x = rng.integers(labels.shape[0] - side), rng.integers(labels.shape[1] - side)
    labels[y : y + side, x : x + side] = 77
    Image.fromarray(labels).save(path)


def make_colours_of(path: Path, rng) -> None:
    labels = np.array(Image.open(path))
    Image.fromarray(np.stack([labels * 40, 255 - labels, labels], axis=2)).save(path)


def compress(path: Path, rng) -> None:
    with Image.open(path) as image:
        image.load()
    image.save(path, 'JPEG', quality=int(rng.integers(50, 96)))


def ignore_most(path: Path, rng) -> None:
    labels = np.array(Image.open(path))
    labels[: int(0.7 * len(labels))] = 255
    Image.fromarray(labels).save(path)


def paint_as_masks(root: Path, *values: int) -> None:
    """Reduces every semantic mask to these values, the first for the background."""
    for path in root.rglob('*.png'):
        labels = np.array(Image.open(path))
        painted = np.array(values, np.uint8)[np.minimum(labels, len(values) - 1)]
        Image.fromarray(painted).save(path)


SEMANTIC_MASKS = {
    remove: 'missing-label-map',
    empty: 'unreadable-label-map',
    overwrite_with_text: 'unreadable-label-map',
    truncate: 'unreadable-label-map',
    resize: 'label-map-size',
    set_a_value_outside: 'label-value',
    make_colours_of: 'colour-map',
    compress: 'lossy-mask',
    ignore_most: 'mostly-ignored',
}


# Each damages a dataset as a whole: objects, or semantic masks with classes from 0.


def normalise_boxes(root: Path) -> None:
    for file in root.glob('annotations/*.json'):
        content = json.loads(file.read_text())
        size = content['images'][0]['width']
        for annotation in content['annotations']:
            annotation['bbox'] = [value / size for value in annotation['bbox']]
            del annotation['segmentation']
        file.write_text(json.dumps(content))


def use_12_of_16_bits(root: Path) -> None:
    for path in root.glob('*/*.jpg'):
        pixels = np.asarray(Image.open(path).convert('L')).astype(np.uint16) * 16
        path.unlink()
        Image.fromarray(pixels).save(path.with_suffix('.png'))
    for file in root.glob('annotations/*.json'):
        file.write_text(file.read_text().replace('.jpg"', '.png"'))


def name_a_class_like_a_variable(root: Path) -> None:
    for file in root.glob('annotations/*.json'):
        content = json.loads(file.read_text())
        content['categories'][0]['name'] = '{{ fileBasename }}'
        file.write_text(json.dumps(content))


def store_grey_levels(root: Path) -> None:
    paint_as_masks(root / 'annotations', 0, 80, 160, 240)


OBJECTS = {
    normalise_boxes: 'normalised-box',
    use_12_of_16_bits: 'dark-picture',
    name_a_class_like_a_variable: 'unsafe-name',
}
MASKS = {store_grey_levels: 'spread-values'}
