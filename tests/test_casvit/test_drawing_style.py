"""Drawn images are legible whatever their size, and however many objects they hold."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from casvit.drawing.files import compared, drawn_for_file, labelled_image
from casvit.drawing.palette import object_palette
from casvit.drawing.style import Style
from casvit.results import (
    Classification,
    Detections,
    LocalMask,
    SemanticMap,
    default_palette,
)

COLOURS = default_palette(40)


def objects(boxes, size=(480, 640), class_ids=None, masks=None, classes=None, tile=None):
    """Objects, each of a class of its own."""
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.95, 0.4, count).astype(np.float32),
        np.arange(count) if class_ids is None else np.array(class_ids),
        masks,
        classes=classes or [f'class {index}' for index in range(max(count, 1))],
        height=size[0],
        width=size[1],
        tile=tile,
    )


def grey(height=480, width=640):
    return np.full((height, width, 3), 128, np.uint8)


def area_of(image, colour):
    """Left, top, right and bottom of the pixels of a colour; None if there are none."""
    rows, columns = np.nonzero((image == colour).all(-1))
    if not len(rows):
        return None
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width > 0 and height > 0


def labels_in(result, image):
    """The areas of the labels of a drawn image."""
    drawn = replace(result, image=image).draw(Style(boxes=False))
    areas = [area_of(drawn, colour) for colour in COLOURS[: len(result)]]
    return [area for area in areas if area]


GRID = [(x, y, x + 50, y + 40) for y in (10, 130, 250, 370) for x in (10, 165, 330, 480)]
NESTED = [(100 + 9 * i, 100 + 7 * i, 400 - 9 * i, 380 - 7 * i) for i in range(8)]
CORNERS = [(0, 0, 60, 40), (580, 0, 640, 40), (0, 440, 60, 480), (580, 440, 640, 480)]
OUTSIDE = [(-90, -90, 60, 40), (600, 200, 900, 300), (300, 470, 400, 700)]


@pytest.mark.parametrize('boxes', [GRID, NESTED, CORNERS, OUTSIDE, 5 * CORNERS[:1]])
def test_labels_are_whole_inside_the_image_and_clear_of_each_other(boxes):
    areas = labels_in(objects(boxes), grey())
    assert len(areas) == len(boxes)
    for index, area in enumerate(areas):
        assert not any(overlap(area, other) for other in areas[:index])
    # None is cut by the image or by another label.
    heights = {bottom - top for _, top, _, bottom in areas}
    assert len(heights) == 1


def test_a_label_is_near_its_box():
    for (x1, y1, x2, y2), area in zip(GRID, labels_in(objects(GRID), grey()), strict=True):
        assert overlap((x1 - 3, y1 - 3, x2 + 3, y2 + 3), area)


def test_where_room_is_short_labels_shrink_and_a_legend_counts_what_has_none():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 180, (40, 2))
    boxes = np.concatenate([corners, corners + 20], 1)
    result = objects(boxes, (200, 200))
    areas = labels_in(result, grey(200, 200))
    wide = labels_in(objects(boxes[:1], (200, 200)), grey(200, 200))[0]
    assert 0 < len(areas) < 40
    assert all(bottom - top < wide[3] - wide[1] for _, top, _, bottom in areas)
    assert not any(overlap(a, b) for i, a in enumerate(areas) for b in areas[:i])
    drawn = drawn_for_file(result, grey(200, 200), Style(enlarged=False, boxes=False))
    listed = [area_of(drawn[200:], colour) is not None for colour in COLOURS]
    labelled = [area_of(drawn[:200], colour) is not None for colour in COLOURS]
    assert sum(labelled) == len(areas) and listed == [not has_label for has_label in labelled]


def test_a_long_name_is_shortened_and_keeps_its_score():
    boxes = [(300, 100, 340, 130)]
    ends = []
    for name in ('a' * 100, 'a' * 300):
        (area,) = labels_in(objects(boxes, classes=[name]), grey())
        assert area[2] - area[0] <= 0.46 * 640
        drawn = replace(objects(boxes, classes=[name]), image=grey()).draw()
        ends.append(drawn[area[1] : area[3], area[2] - 30 : area[2]])
    assert (ends[0] == ends[1]).all() and (ends[0] < 40).any()
    # A score of its own in the last columns: it is not the name that ends there.
    other = replace(objects(boxes, classes=['a' * 100]), image=grey(), scores=np.array([0.11]))
    assert (other.draw()[area[1] : area[3], area[2] - 30 : area[2]] != ends[0]).any()


@pytest.mark.parametrize(
    'size, factor',
    [
        ((64, 64), 10),
        ((107, 160), 4),
        ((24, 32), 16),
        ((1, 1), 16),
        ((300, 200), 2),
        ((480, 640), 1),
    ],
)
def test_small_images_are_enlarged_by_a_whole_number(size, factor):
    height, width = size
    result = objects([(0, 0, width, height)], size)
    drawn = drawn_for_file(result, grey(*size))
    assert drawn.shape == (factor * height, factor * width, 3)
    assert drawn_for_file(result, grey(*size), Style(enlarged=False)).shape == (*size, 3)


def test_what_is_drawn_on_an_enlarged_image_is_enlarged_too():
    mask = np.zeros((64, 64), bool)
    mask[20:40, 10:30] = True
    result = objects([(10, 20, 30, 40)], (64, 64), masks=[LocalMask.crop(mask)])
    drawn = drawn_for_file(result, grey(64, 64), Style(labels=False))
    left, top, right, bottom = area_of(drawn, COLOURS[0])
    assert (abs(np.array((left, top, right, bottom)) - (100, 200, 300, 400)) <= 2).all()
    tinted = (drawn != 128).any(-1)
    assert tinted[210:390, 110:290].all() and tinted.sum() < 205 * 205
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 32:] = 1
    result = SemanticMap(labels, classes=('a', 'b'), palette=[(0, 0, 0)] * 2, height=64, width=64)
    drawn = drawn_for_file(result, grey(64, 64), Style(labels=False))
    assert drawn.shape == (640, 640, 3)


@pytest.mark.parametrize('side', [1, 64, 160, 640, 1333, 6000, 60000])
def test_lines_and_letters_have_bounds(side):
    line, letters = Style().sizes(side // 2, side)
    assert 2 <= line <= 6 and 12 <= letters <= 36
    assert Style(line_width=9, font_size=50).sizes(side, side) == (9, 50)


def test_lines_and_letters_of_a_tiled_image_are_those_of_a_tile():
    assert Style().sizes(6000, 6000, tile=640) == Style().sizes(640, 640)
    assert Style().sizes(500, 500, tile=2000) == Style().sizes(500, 500)
    heights = []
    for tile in (None, 300):
        result = objects([(500, 500, 700, 600)], (1500, 1500), tile=tile)
        ((_, top, _, bottom),) = labels_in(result, grey(1500, 1500))
        heights.append(bottom - top)
    assert heights[0] > 1.8 * heights[1]


def test_the_image_stays_visible_under_masks():
    striped = grey()
    striped[:, ::8], striped[:, 4::8] = 60, 200
    result = objects([(0, 0, 640, 480)], masks=[LocalMask(0, 0, np.ones((480, 640), bool))])
    classes = SemanticMap(np.zeros((480, 640), np.uint8), classes=('a',), height=480, width=640)
    for one in (result, classes):
        drawn = drawn_for_file(one, striped, Style(labels=False, boxes=False))
        inner = drawn[100:200, 96:192].astype(float)
        contrast = (inner[:, 4::8] - inner[:, ::8]).mean((0, 1))
        assert (contrast > 0.45 * 140).all() and (contrast < 0.6 * 140).all()
        # Nearer to the colour of the class in each channel.
        expected = np.sign(np.array(COLOURS[0]) - inner.mean((0, 1)))
        assert (np.sign(inner.mean((0, 1)) - striped[100:200, 96:192].mean()) == expected).all()


def semantic(present, height=480, width=640):
    labels = np.repeat(np.array(present, np.uint8), width // len(present))
    labels = np.pad(labels, (0, width - len(labels)), 'edge')
    return SemanticMap(
        np.tile(labels, (height, 1)),
        classes=[f'class {index}' for index in range(30)],
        height=height,
        width=width,
    )


@pytest.mark.parametrize('present', [[3], [0, 7, 22], [*range(30)]])
def test_the_legend_of_a_semantic_mask_lists_the_classes_in_it(present):
    drawn = drawn_for_file(semantic(present), grey())
    assert drawn.shape[0] > 480 and drawn.shape[1] == 640
    listed = {i for i in range(30) if area_of(drawn[480:], COLOURS[i]) is not None}
    assert listed == set(present)
    assert drawn_for_file(semantic(present), grey(), Style(labels=False)).shape == (480, 640, 3)
    assert drawn_for_file(semantic(present), grey(), Style(legend=False)).shape == (480, 640, 3)


def test_ground_truth_and_prediction_stand_side_by_side_below_their_titles():
    truth, found = objects([(100, 100, 200, 200)]), objects([(300, 100, 400, 200)])
    drawn = compared(truth, found, grey())
    above = drawn.shape[0] - 480
    assert above > 12 and drawn.shape[1] > 1280
    left, right = drawn[:, :640], drawn[:, -640:]
    assert area_of(left, COLOURS[0])[0] == 99 and area_of(right, COLOURS[0])[0] == 299
    for part in (left, right):
        assert (part[:above] > 220).all(-1).any()
    # A legend of both.
    drawn = compared(semantic([1, 2]), semantic([2, 5]), grey())
    strip = drawn[above + 480 :]
    assert [area_of(strip, COLOURS[index]) is not None for index in (1, 2, 5, 3)] == [
        *(True, True, True, False)
    ]


def test_the_class_of_an_annotated_image_is_written_above_it():
    scores = np.array([0.1, 0.9], np.float32)
    result = Classification(scores, classes=('cat', 'dog'), height=480, width=640)
    drawn = labelled_image(['cat'], result, grey())
    above = len(drawn) - 480
    assert above > 12 and area_of(drawn[above:], COLOURS[1])[1] == 0
    assert (labelled_image(['dog'], result, grey())[:above] != drawn[:above]).any()
    assert (labelled_image(['dog'], None, grey())[above:] == 128).all()


def test_labels_and_boxes_can_be_left_out():
    result = objects([(100, 100, 300, 200)])
    drawn = {
        (labels, boxes): (
            drawn_for_file(result, grey(), Style(labels=labels, boxes=boxes)) != 128
        ).any(-1)
        for labels in (True, False)
        for boxes in (True, False)
    }
    assert not drawn[False, False].any()
    assert drawn[False, True][150, 99:101].all() and not drawn[False, True][:98].any()
    assert drawn[True, False][:98].any() and not drawn[True, False][110:].any()
    assert (drawn[True, True] == drawn[True, False] | drawn[False, True]).all()


def test_the_border_of_the_image_does_not_hide_a_box():
    drawn = drawn_for_file(objects([(0, 0, 640, 480)]), grey(), Style(labels=False))
    own = (drawn == COLOURS[0]).all(-1)
    for side in (own[:2], own[-2:], own[:, :2], own[:, -2:]):
        assert side.all()


def lightness_and_hue(colours):
    """CIE Lab by Pillow, with the true scale of each channel."""
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB')
    transform = ImageCms.buildTransform(srgb, lab, 'RGB', 'LAB')
    row = Image.fromarray(np.array([colours], np.uint8))
    values = np.asarray(ImageCms.applyTransform(row, transform))[0].astype(int)
    return np.stack([values[:, 0] / 2.55, *(values[:, 1:].T.astype(np.int8))], 1)


def test_classes_have_bright_colours_and_neighbours_differ():
    lab = lightness_and_hue(default_palette(80))
    assert lab[:, 0].min() > 48
    assert np.linalg.norm(lab[1:] - lab[:-1], axis=1).min() > 35
    first = lab[:20]
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1) + 999 * np.eye(20)
    assert apart.min() > 20
    many = lightness_and_hue(default_palette(500))
    assert np.linalg.norm(many[1:] - many[:-1], axis=1).min() > 15
    assert len(set(default_palette(200))) == 200


def test_a_dataset_has_its_own_colours_if_they_can_be_told_apart_as_lines():
    own = [(200, 30, 30), (20, 40, 220), (250, 200, 0)]
    assert object_palette(own, 4) == [*own, COLOURS[3]]
    # As mmdet has them for COCO and VOC: dark, and neighbours alike.
    for palette in ([(0, 60, 100), (0, 80, 100), (0, 0, 230)], [(0, 0, 70), (220, 20, 60)]):
        assert object_palette(palette, 3) == COLOURS[:3]
    assert object_palette([], 3) == COLOURS[:3]
