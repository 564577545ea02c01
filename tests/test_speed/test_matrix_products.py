"""Whether a device gains from bfloat16 is measured if its instructions do not tell."""

import time

import pytest
import torch

from casvit_mm.speed import matrix_products
from casvit_mm.speed.matrix_products import (
    flops_per_second,
    gains_from,
    least_seconds,
    works_in,
)


@pytest.fixture(autouse=True)
def empty_cache():
    gains_from.cache_clear()
    yield
    gains_from.cache_clear()


@pytest.mark.parametrize(('times_as_fast', 'gains'), [(2.4, True), (1.1, False), (0.5, False)])
def test_a_cpu_gains_if_its_products_are_clearly_faster(times_as_fast, gains, monkeypatch):
    def rate(device, dtype, shape):
        return times_as_fast if dtype is torch.bfloat16 else 1.0

    monkeypatch.setattr(matrix_products, 'computes', lambda *asked: True)
    monkeypatch.setattr(matrix_products, 'flops_per_second', rate)
    assert gains_from('cpu', torch.bfloat16) is gains


@pytest.mark.parametrize(('device', 'instructions'), [('cpu', False), ('cuda', True)])
def test_nothing_is_measured_if_the_instructions_tell(device, instructions, monkeypatch):
    monkeypatch.setattr(matrix_products, 'computes', lambda *asked: instructions)
    monkeypatch.delattr(matrix_products, 'flops_per_second')
    assert gains_from(device, torch.bfloat16) is instructions


def test_the_shortest_of_the_calls_counts():
    waits = iter([0.02, 0.001, 0.02])
    assert 0.001 <= least_seconds(lambda: time.sleep(next(waits)), 'cpu', repeats=3) < 0.02
    assert next(waits, None) is None


def test_a_product_of_twice_the_size_counts_as_twice_the_work(monkeypatch):
    monkeypatch.setattr(matrix_products, 'least_seconds', lambda call, device: 0.5)
    assert flops_per_second('cpu', torch.float32, (4, 8, 16)) == 2 * 4 * 8 * 16 / 0.5
    assert flops_per_second('cpu', torch.float32, (8, 8, 16)) == 2 * 8 * 8 * 16 / 0.5


def test_an_unsupported_precision_is_detected_by_trying_it(monkeypatch):
    works_in.cache_clear()
    assert works_in('cpu', torch.bfloat16)
    works_in.cache_clear()

    def missing(*arguments):
        raise RuntimeError('"slow_conv2d_cpu" not implemented for \'Half\'')

    monkeypatch.setattr(matrix_products.functional, 'conv2d', missing)
    assert not works_in('cpu', torch.float16)
    works_in.cache_clear()
