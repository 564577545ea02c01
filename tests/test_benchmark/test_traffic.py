"""The prediction of what a network costs."""

import pytest
from traffic import step_seconds


@pytest.mark.parametrize(
    ('machines', 'seconds'),
    # 125 MB are one gigabit: two machines send all of it once, very many almost twice.
    [(1, 0.5), (2, 1.5), (4, 2.0), (1000, 2.498)],
)
def test_a_gigabit_of_gradients_takes_a_second_between_two_machines(machines, seconds):
    assert step_seconds(0.5, 125 * 10**6, machines, 10**9) == pytest.approx(seconds)
