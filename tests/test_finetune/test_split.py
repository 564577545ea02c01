"""Splitting a dataset evenly by class."""

import pytest

from casvit_mm.datasets import DatasetError
from casvit_mm.finetune.split import split_evenly

pytest.importorskip('iterstrat')


def test_every_class_gets_its_share():
    labels = [{'cat'}] * 60 + [{'dog'}] * 30 + [{'cat', 'cow'}] * 10 + [set()] * 20
    chosen = split_evenly(labels, 0.2, seed=0, groups=range(120))
    for name, count in (('cat', 70), ('dog', 30), ('cow', 10)):
        val = sum(name in found for found, side in zip(labels, chosen, strict=True) if side)
        assert val == pytest.approx(0.2 * count, abs=1.5)
    empty = sum(not found for found, side in zip(labels, chosen, strict=True) if side)
    assert empty == pytest.approx(4, abs=1)


def test_the_seed_decides_the_split():
    labels = [{index % 3} for index in range(40)]
    first, again, other = (split_evenly(labels, 0.25, s, range(40)) for s in (1, 1, 2))
    assert first == again and first != other


def test_copies_of_an_image_stay_in_one_split():
    labels = [{index % 2} for index in range(40)]
    groups = [index // 2 for index in range(40)]
    chosen = split_evenly(labels, 0.3, 0, groups)
    assert all(chosen[index] == chosen[index + 1] for index in range(0, 40, 2))


@pytest.mark.parametrize('number', [2, 3, 5])
def test_both_splits_have_an_image(number):
    for seed in range(5):
        chosen = split_evenly([{'cat'}] * number, 0.1, seed, range(number))
        assert any(chosen) and not all(chosen)


def test_one_image_cannot_be_split():
    with pytest.raises(DatasetError, match='one image'):
        split_evenly([{'cat'}], 0.5, 0, range(1))
