"""The choice of images on the page of the data check, and the facts of its charts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casvit_mm.datasets.issues import KINDS, Issue, Severity
from casvit_mm.report.audit.cards import FAULTY, LISTED, PER_KIND, chosen, numbered
from casvit_mm.report.audit.charts import brief, percent, round_steps
from casvit_mm.report.audit.plots import (
    class_histogram,
    heat_map,
    image_sizes,
    object_sizes,
    objects_per_image,
)


def issue(kind, index=0, group='annotations'):
    return Issue(kind, 'a.json', f'{group}[{index}]', 'is wrong', group, index)


def test_a_frequent_kind_of_issue_crowds_out_no_other():
    found = {number: [issue('crowd')] for number in range(1000)}
    found[1000] = [issue('tiny-box')]
    found[1001] = [issue('empty-box'), issue('crowd')]
    keys = chosen(found, range(1100), 16, 0)
    assert keys[0] == 1001 and 1000 in keys[: PER_KIND + 2]
    assert len(keys) == len(set(keys)) == PER_KIND + 1 + 16


def test_many_kinds_share_the_images_with_issues():
    found = {(kind, n): [issue(kind)] for kind in KINDS for n in range(9)}
    keys = chosen(found, [], 16, 0)
    assert len(keys) == FAULTY and len({kind for kind, _ in keys}) == FAULTY
    severities = [KINDS[kind].severity for kind, _ in keys]
    assert severities == sorted(severities, key=list(Severity).index)


@given(st.integers(0, 40), st.integers(0, 20), st.integers(0, 5))
def test_random_images_are_different_ones_and_the_same_for_a_seed(images, number, seed):
    keys = chosen({}, range(images), number, seed)
    assert len(set(keys)) == len(keys) == min(images, number)
    assert keys == chosen({}, range(images), number, seed)


def test_objects_get_numbers_that_their_issues_share():
    one = [issue('crowd', 4), issue('empty-box', 4)]
    assert [f.number for f in numbered(one)] == [0, 0]
    both = numbered([*one, issue('tiny-box', 7), issue('listed-twice', 2, 'images')])
    assert [(f.issue.kind, f.number) for f in both] == [
        ('empty-box', 1),
        ('tiny-box', 2),
        ('crowd', 1),
        ('listed-twice', 0),
    ]
    many = numbered([issue('crowd', index) for index in range(50)])
    assert [f.number for f in many[: LISTED + 2]] == [*range(1, LISTED + 1), 0, 0]


@given(st.floats(1e-3, 1e9), st.booleans())
def test_ticks_are_few_round_and_within_the_axis(most, whole):
    steps = round_steps(most, whole=whole)
    assert steps[0] == 0 and len(steps) <= 6 and steps[-1] <= most * (1 + 1e-6)
    assert not whole or all(step == int(step) for step in steps)


@pytest.mark.parametrize(
    ('number', 'text'),
    [(0, '0'), (5, '5'), (999, '999'), (1234, '1,234'), (12345, '12.3 k'), (5e6, '5 M')],
)
def test_numbers_on_axes_are_short(number, text):
    assert brief(number) == text


@pytest.mark.parametrize(
    ('share', 'text'), [(0, '0 %'), (1e-5, '<0.1 %'), (0.0123, '1.2 %'), (0.5, '50 %')]
)
def test_shares_are_rounded_but_never_to_nothing(share, text):
    assert percent(share) == text


def test_the_facts_of_classes_name_the_most_the_fewest_and_the_missing():
    counts = dict(train=dict(cat=90, dog=10, owl=0), val=dict(cat=3, dog=0, owl=0))
    chart = class_histogram(counts, 'objects')
    assert chart.facts == (
        '2 classes with objects; most: cat 93 (90 %), dog 10 (9.7 %). No objects: owl. '
        'None in val: dog.'
    )
    assert [[bar.shown for bar in row.bars] for row in chart.rows] == [['90', '3'], ['10', '0']]
    assert [row.name for row in chart.more] == ['owl']
    shares = class_histogram(dict(all=dict(sky=750, sun=250)), 'pixels')
    assert [row.bars[0].shown for row in shares.rows] == ['75 %', '25 %']
    assert class_histogram(dict(all=dict(cat=0)), 'objects').facts == '1 class without objects.'
    assert class_histogram({}, 'objects') is None


def test_rare_classes_are_visible_beside_frequent_ones():
    chart = class_histogram(dict(train=dict(a=100_000, b=1)), 'objects')
    lengths = [row.bars[0].length for row in chart.rows]
    assert 'logarithmic' in chart.title and lengths[0] == 100 and 1 < lengths[1] < 20


def test_a_hundred_thousand_classes_are_counted_not_listed():
    counts = {f'class {index}': 100_000 - index for index in range(100_000)}
    chart = class_histogram(dict(train=counts, val=counts), 'objects')
    assert len(chart.rows) + len(chart.more) == 1000 and chart.unlisted == 99_000
    assert len(chart.facts) < 500


def test_the_facts_of_object_sizes_are_those_of_the_coco_evaluation():
    boxes = dict(train=np.array([[10, 10], [20, 20], [50, 50], [200, 200]], float))
    frames = dict(train=np.full((4, 2), 640.0))
    chart = object_sizes(boxes, frames, None)
    assert 'train: median 35 pixels; 50 % are below 32 pixels, 25 % above 96.' in chart.facts
    counted = sum(int(span.tip.split('train ')[1].replace(',', '')) for span in chart.spans)
    assert counted == 4
    assert object_sizes(dict(train=np.zeros((0, 2))), dict(train=np.zeros((0, 2))), None) is None


@pytest.mark.parametrize('side', [1e-3, 1.0, 1e6, 1e200, np.inf])
def test_odd_sizes_of_objects_are_drawn_or_left_out(side):
    boxes = dict(train=np.array([[side, side], [40, 40]]))
    with np.errstate(all='raise', over='ignore'):
        assert object_sizes(boxes, dict(train=np.ones((2, 2))), None).outlines


def test_the_number_of_objects_per_image_counts_background_images():
    chart = objects_per_image(dict(train=np.array([0, 0, 3, 5]), val=np.zeros(0, int)))
    assert chart.facts == (
        'train: 2.0 objects per image on average, at most 5; 2 background images.'
    )
    assert chart.spans[0].tip == '0 objects: images in train 2, val 0'
    assert objects_per_image(dict(train=np.zeros(0, int))) is None
    assert objects_per_image(dict(train=np.zeros(3, int))).x_ticks[0].label == '0'
    assert len(objects_per_image(dict(train=np.array([900, 3]))).spans) <= 60


def test_image_sizes_are_joined_to_few_dots():
    rng = np.random.default_rng(0)
    many = rng.integers(100, 5000, (20_000, 2)).astype(float)
    chart = image_sizes(dict(train=many, val=np.array([[640, 480]] * 3, float)))
    assert len(chart.dots) < 5000 and '640 x 480' in chart.facts
    assert '3 images of 640 x 480 in val' in [dot.tip for dot in chart.dots]
    assert image_sizes(dict(train=np.zeros((0, 2)))) is None


def test_the_heat_map_names_its_warmest_place():
    heat = np.zeros((32, 32))
    heat[8, 24] = 1234
    chart = heat_map(heat)
    assert '1,234' in chart.facts and '77 % of the width and 27 % of the height' in chart.facts
    assert heat_map(np.zeros((32, 32))) is None
