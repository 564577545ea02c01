"""The batch that fits into memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casvit_mm.finetune.memory import AIM, AT_MOST, GIB, fit_batch, usable_memory


def machine(fixed, each, limit):
    """A machine on which a step needs a fixed amount and one for each image."""
    asked = []

    def measure(size):
        asked.append(size)
        need = fixed + each * size
        return need if need <= limit else 0

    return measure, asked


@settings(derandomize=True)
@given(
    st.integers(GIB // 2, 3 * GIB),
    st.integers(GIB // 50, 2 * GIB),
    st.sampled_from([4 * GIB, 8 * GIB, 24 * GIB]),
    st.integers(1, 64),
)
def test_a_fitted_batch_is_measured_and_fits(fixed, each, limit, largest):
    measure, asked = machine(fixed, each, limit)
    fit = fit_batch(measure, limit, largest)
    if fit is None:
        assert fixed + each > AT_MOST * limit
        return
    assert fit.batch_size in asked and 1 <= fit.batch_size <= largest
    assert fit.peak == fixed + each * fit.batch_size <= AT_MOST * limit
    more = fixed + each * (fit.batch_size + 1)
    assert fit.batch_size == largest or more > AIM * limit
    assert len(asked) <= 6, 'each measurement takes a while'


@pytest.mark.parametrize('limit', [6 * GIB, 12 * GIB])
def test_a_run_needs_between_40_and_70_percent_if_the_data_allow_it(limit):
    measure, _ = machine(GIB, GIB // 3, limit)
    fit = fit_batch(measure, limit, largest=100)
    assert 0.4 <= fit.peak / limit <= 0.7


def test_a_step_that_needs_more_than_it_seemed_is_made_smaller():
    def measure(size):
        return GIB * size if size <= 4 else GIB * size * 2

    fit = fit_batch(measure, 20 * GIB, largest=64)
    assert fit.peak <= AT_MOST * 20 * GIB


def test_there_is_some_memory():
    assert usable_memory() > GIB / 4


def test_a_batch_that_was_seen_to_fit_is_not_given_up_for_a_smaller_one():
    # Even one image needs more than the aim, as with small models on small images.
    measure, _ = machine(int(1.2 * GIB), GIB // 40, 2 * GIB)
    assert fit_batch(measure, 2 * GIB, largest=30).batch_size == 4


def test_without_time_to_measure_a_batch_is_chosen_only_if_it_fits_anyhow():
    measure, asked = machine(GIB, GIB // 10, 16 * GIB)
    fit = fit_batch(measure, 16 * GIB, largest=16, affordable=lambda size: False)
    assert asked == [1] and fit.batch_size == 4 and not fit.measured
    assert fit.peak >= GIB + 4 * GIB // 10
    fit = fit_batch(measure, 2 * GIB, largest=16, affordable=lambda size: False)
    assert fit.batch_size == 1 and fit.measured


@pytest.mark.parametrize('largest', [2, 3, 16])
def test_batches_smaller_than_a_model_can_be_trained_with_are_not_tried(largest):
    measure, asked = machine(GIB, GIB // 10, 16 * GIB)
    assert fit_batch(measure, 16 * GIB, largest, smallest=2).batch_size == largest
    assert min(asked) == 2
    assert fit_batch(machine(GIB, GIB, GIB)[0], 2 * GIB, largest, smallest=2) is None
