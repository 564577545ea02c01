"""Masks of COCO files are decoded as by pycocotools; what would crash it never reaches it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from casvit_mm.datasets.object_masks.coding import encode_mask
from casvit_mm.datasets.object_masks.polygons import polygon_issue
from casvit_mm.datasets.object_masks.run_lengths import (
    MAX_PIXELS,
    decode_counts,
    repaired_counts,
    run_length_issue,
)

quick = settings(max_examples=300)


def encoded(bitmap):
    value = rle.encode(np.asfortranarray(bitmap.astype(np.uint8)))
    return dict(size=[int(side) for side in value['size']], counts=value['counts'].decode())


def bitmap_of(height, width, seed, share):
    rng = np.random.default_rng(seed)
    # Blocks and noise: runs of a single pixel and of thousands.
    coarse = rng.random((height // 7 + 1, width // 7 + 1)) < share
    bitmap = np.kron(coarse, np.ones((7, 7), bool))[:height, :width]
    return bitmap ^ (rng.random((height, width)) < 0.02)


def filled(runs, height, width):
    values = np.arange(len(runs)) % 2
    return np.repeat(values, runs).reshape(width, height).T


masks = st.tuples(
    st.integers(1, 300), st.integers(1, 300), st.integers(0, 10**6), st.floats(0, 1)
).map(lambda values: bitmap_of(*values))


@quick
@given(masks)
def test_run_lengths_are_decoded_as_by_pycocotools(bitmap):
    value = encoded(bitmap)
    assert run_length_issue(value) == ''
    runs = decode_counts(value['counts'])
    assert np.array_equal(filled(runs, *bitmap.shape), bitmap)
    listed = dict(value, counts=runs.tolist())
    assert run_length_issue(listed) == ''
    assert rle.frPyObjects(listed, *bitmap.shape)['counts'].decode() == value['counts']


def test_a_very_long_run_is_decoded():
    value = encoded(np.pad(np.ones((1, 1), bool), ((4000, 4000), (4000, 4000))))
    assert run_length_issue(value) == ''
    assert decode_counts(value['counts']).sum() == 8001**2


@quick
@given(masks, st.data())
def test_run_lengths_that_pass_are_decoded_in_the_same_way_by_pycocotools(bitmap, data):
    counts = encoded(bitmap)['counts']
    place = data.draw(st.integers(0, len(counts)))
    change = data.draw(st.sampled_from(['cut', 'insert', 'replace', 'random']))
    text = data.draw(st.text(st.characters(min_codepoint=0, max_codepoint=130), max_size=20))
    counts = {
        'cut': counts[:place],
        'insert': counts[:place] + text + counts[place:],
        'replace': counts[:place] + text + counts[place + len(text) :],
        'random': text,
    }[change]
    value = dict(size=list(bitmap.shape), counts=counts)
    if run_length_issue(value):
        assert encode_mask(value, bitmap.shape[::-1]) is None
        return
    decoded = rle.decode(dict(value, counts=counts.encode()))
    assert np.array_equal(decoded, filled(decode_counts(counts), *bitmap.shape))


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        (dict(size=[4, 4], counts="b'00'"), 'repr of Python bytes'),
        (dict(size=[4, 4], counts='0P'), 'end in the middle of a number'),
        (dict(size=[4, 4], counts='P' * 20 + '0'), 'more than 7 characters'),
        (dict(size=[4, 4], counts='é'), "the character 'é'"),
        (dict(size=[4, 4], counts='0 0'), "the character ' '"),
        (dict(size=[4, 4], counts='\x00'), r"the character '\x00'"),
        (dict(size=[4, 4], counts=''), 'add up to 0'),
        (dict(size=[4, 4], counts='@'), 'negative'),
        (dict(size=[4, 4], counts=[]), 'add up to 0'),
        (dict(size=[4, 4], counts=[-4, 20]), 'range from -4 to 20'),
        (dict(size=[4, 4], counts=[0.5, 15.5]), 'not whole numbers'),
        (dict(size=[4, 4], counts=[float('nan'), 16]), 'nan'),
        (dict(size=[4, 4], counts=[float('inf')]), 'inf'),
        (dict(size=[4, 4], counts=[10**400]), 'not whole numbers'),
        (dict(size=[4, 4], counts=[[4, 4], [8]]), 'not whole numbers'),
        (dict(size=[4, 4], counts=['16']), 'not whole numbers'),
        (dict(size=[4, 4], counts=[[16]]), 'not whole numbers'),
        (dict(size=[4, 4], counts=[10, 5]), 'add up to 15, but 4x4 pixels are 16'),
        (dict(size=[4, 4], counts=None), 'counts are None'),
        (dict(size=[4, 4]), 'counts are None'),
        (dict(size=[0, 4], counts=[]), 'expected [height, width]'),
        (dict(size=[4], counts=[4]), 'expected [height, width]'),
        (dict(size='44', counts=[16]), 'expected [height, width]'),
        (dict(size=[True, 16], counts=[16]), 'expected [height, width]'),
        (dict(size=[2**31, 2**31], counts=[2**62]), 'which no image has'),
        (dict(size=[10**4000, 4], counts=[16]), 'which no image has'),
        (dict(counts=[16]), 'expected [height, width]'),
    ],
)
def test_the_reason_is_given(value, reason):
    issue = run_length_issue(value)
    assert issue.startswith('has ') and reason in issue and len(issue) < 300
    assert encode_mask(value, (4, 4)) is None


def test_integers_may_be_written_as_floats():
    assert run_length_issue(dict(size=[4, 4], counts=[4.0, 12.0])) == ''


def test_the_repr_of_python_bytes_is_repaired_if_it_is_a_mask():
    value = encoded(bitmap_of(40, 50, 1, 0.4))
    broken = dict(value, counts=str(value['counts'].encode()))
    assert run_length_issue(broken) and repaired_counts(broken) == value
    for counts in ("b'00'", "b'\\'", "b''", 'b"', "b'", '', "b'\\xff'", value['counts'], None):
        assert repaired_counts(dict(value, counts=counts)) is None


FAR = [
    [1e9, 1e9, -1e9, 1e9, 0, 0],
    [0, 0, 5, 5, -1e300, 7],
    [0, 0, 10**400, 5, 5, 7],
    [10**400, -(10**400), 1, 5, 5, 7],
    [float('nan'), 0, 5, 5, 5, 7],
    [0, 0, float('inf'), 5, 5, 7],
    [0, 0, 5, 5, 1e308, 1e308],
]


@pytest.mark.parametrize('polygon', FAR, ids=range(len(FAR)))
def test_a_polygon_far_away_is_not_filled(polygon):
    assert encode_mask([polygon], (160, 120)) is None


def test_a_polygon_that_goes_back_and_forth_over_an_image_is_not_filled():
    polygon = [0, 0, 20000, 20000] * 1000
    assert 'back and forth' in polygon_issue(polygon, (20000, 10000))
    assert 'too large' in polygon_issue([0, 0, 1, 1, 2, 0], (MAX_PIXELS, 2))
    assert encode_mask([polygon], (20000, 10000)) is None


@quick
@given(st.lists(st.floats(-200, 400), min_size=6, max_size=30))
def test_a_polygon_around_an_image_is_filled(polygon):
    polygon = polygon[: len(polygon) // 2 * 2]
    assert polygon_issue(polygon, (160, 120)) == ''
    assert list(rle.decode(encode_mask([polygon], (160, 120))).shape) == [120, 160]
