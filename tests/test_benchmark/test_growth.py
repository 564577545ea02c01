"""How cost grows with the input."""

import pytest

from casvit_mm.benchmark.growth import growth, power_law


def case(side, batch, seconds, model='xs'):
    return dict(
        model=model,
        label=model.upper(),
        name='fused',
        mode='inference',
        image_size=side,
        batch_size=batch,
        seconds=dict(median=seconds),
    )


@pytest.mark.parametrize('exponent', [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found(exponent):
    found, deviation = power_law([(n, 3e-6 * n**exponent) for n in (100, 1000, 5000)])
    assert found == pytest.approx(exponent)
    assert deviation < 1e-9


def test_the_deviation_from_a_power_law_is_returned():
    assert power_law([(1, 1.0), (10, 20.0), (100, 100.0)])[1] > 0.3


def test_image_sizes_and_batch_sizes_are_separate_series():
    cases = [case(side, 1, side**2 * 1e-6) for side in (256, 64, 128)]
    cases += [case(64, batch, 0.004 * batch**1.5) for batch in (2, 4, 8)]
    by_side, by_batch = growth(cases)
    assert (by_side['over'], by_side['batch_size']) == ('image_size', 1)
    assert [pixels for pixels, _ in by_side['points']] == [64**2, 128**2, 256**2]
    assert by_side['exponent'] == pytest.approx(1)
    assert (by_batch['over'], by_batch['image_size']) == ('batch_size', 64)
    assert len(by_batch['points']) == 4


def test_two_sizes_are_too_few_for_a_series():
    assert not growth([case(64, 1, 1.0), case(128, 1, 2.0), case(256, 1, 3.0, model='s')])
