"""Answers of two runtimes are compared object by object, whatever their order."""

import numpy as np
import pytest

from casvit.exported.parity import TOLERANCES, Difference, difference

BOXES = np.array([[0, 0, 10, 10], [20, 20, 60, 60], [21, 20, 60, 60]], np.float32)
SCORES = np.array([0.9, 0.8, 0.5], np.float32)
LABELS = np.array([0, 1, 1])
STRICT = TOLERANCES['fp32']


def test_the_order_of_objects_does_not_matter():
    order = [2, 0, 1]
    found = difference(
        'detection', [BOXES, SCORES, LABELS], [BOXES[order], SCORES[order], LABELS[order]]
    )
    assert found.objects == 3 and found.boxes == found.scores == 0 and STRICT.allows(found)


def test_a_moved_box_is_measured_in_pixels():
    moved = BOXES + np.array([[0, 0, 0, 0], [0, 0.25, 0, 0], [0, 0, 0, 0]], np.float32)
    found = difference('detection', [BOXES, SCORES, LABELS], [moved, SCORES, LABELS])
    assert found.boxes == pytest.approx(0.25) and not STRICT.allows(found)


@pytest.mark.parametrize('index', [0, 1, 2])
def test_a_missing_object_or_another_class_is_counted(index):
    kept = [each for each in range(3) if each != index]
    fewer = [BOXES[kept], SCORES[kept], LABELS[kept]]
    for pair in ([BOXES, SCORES, LABELS], fewer), (fewer, [BOXES, SCORES, LABELS]):
        found = difference('detection', *pair)
        assert found.unmatched == 1 and not STRICT.allows(found)
    other = LABELS.copy()
    other[index] = 7
    assert difference('detection', [BOXES, SCORES, LABELS], [BOXES, SCORES, other]).unmatched == 2


def test_an_object_on_the_threshold_may_be_missing():
    left = [BOXES[:1], np.array([0.30005], np.float32), LABELS[:1]]
    right = [BOXES[:1], np.array([0.29998], np.float32), LABELS[:1]]
    assert difference('detection', left, right, 0.3).unmatched == 0
    assert difference('detection', left, right, 0.3).objects == 0


def test_another_object_may_have_taken_the_last_place_of_as_many_as_there_can_be():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 60, 60], [21, 90, 60, 130]], np.float32)
    scores = np.array([0.9, 0.8, 0.79995], np.float32)
    left, right = ([each[[0, last]] for each in (boxes, scores, LABELS)] for last in (1, 2))
    found = difference('detection', left, right, most=2)
    assert found.objects == 1 and found.boxes == 0 and STRICT.allows(found)
    # With room for more, and farther from the last score, it is a difference.
    assert difference('detection', left, right, most=3).unmatched == 2
    assert difference('detection', left, right).unmatched == 2
    right[1][0] = left[1][0] = 0.5
    assert not STRICT.allows(difference('detection', left, right, most=2))


def test_no_objects_at_all_are_no_difference():
    nothing = [BOXES[:0], SCORES[:0], LABELS[:0]]
    assert STRICT.allows(difference('detection', nothing, nothing))


@pytest.mark.parametrize('task', ['semantic', 'classification'])
def test_numbers_that_are_not_a_number_are_refused(task):
    values = np.ones((1, 3, 4, 4), np.float32)
    broken = values.copy()
    broken[0, 0, 0, 0] = np.nan
    assert not STRICT.allows(difference(task, [values], [broken]))
    assert STRICT.allows(difference(task, [values], [values + 1e-6]))
    assert not STRICT.allows(difference(task, [values], [values + 1e-3]))


def test_logits_of_another_size_are_refused():
    assert not STRICT.allows(
        difference('semantic', [np.ones((1, 3, 4, 4))], [np.ones((1, 3, 4, 5))])
    )


def test_in_fp16_one_object_of_twenty_may_be_suppressed_in_one_of_the_two():
    half = TOLERANCES['fp16']
    assert half.allows(Difference(unmatched=1, objects=19))
    assert not half.allows(Difference(unmatched=2, objects=19))
    assert not TOLERANCES['fp32'].allows(Difference(unmatched=1, objects=1000))


def test_overlapping_boxes_that_suppress_each_other_in_one_runtime_only_are_two_objects():
    # Their scores are so close that rounding decides which one stays.
    kept = [np.array([[57.7, 71.6, 95.3, 118.9]], np.float32), SCORES[:1], LABELS[:1]]
    other = [np.array([[66.9, 71.8, 109.3, 118.8]], np.float32), SCORES[:1] - 2e-5, LABELS[:1]]
    found = difference('detection', kept, other)
    assert found.unmatched == 2 and found.boxes == 0
