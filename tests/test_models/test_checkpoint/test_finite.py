"""Weights that are NaN or infinite are refused, whoever reads them."""

import math

import pytest
import torch

from casvit_mm.models import CheckpointError, read_checkpoint
from casvit_mm.models.checkpoint.finite import is_finite


@pytest.mark.parametrize(('value', 'said'), [(math.nan, 'NaN'), (-math.inf, 'infinite')])
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_a_checkpoint_with_a_weight_that_is_not_finite_names_the_first(
    value, said, suffix, tmp_path
):
    from safetensors.torch import save_file

    weights = {'a': torch.ones(3), 'b.weight': torch.ones(2, 2), 'c': torch.full((2,), value)}
    weights['b.weight'][1, 0] = value
    file = tmp_path / f'weights.{suffix}'
    save_file(weights, file) if suffix == 'safetensors' else torch.save(weights, file)
    with pytest.raises(CheckpointError, match=rf'its weight b\.weight has values that are {said}'):
        read_checkpoint(file)


@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]
)
def test_large_values_are_finite_and_one_infinity_among_them_is_not(dtype):
    values = torch.full((100,), 6e4, dtype=dtype)
    assert is_finite(values)
    values[50] = math.inf
    assert not is_finite(values)
    values[51] = -math.inf
    assert not is_finite(values)


def test_whole_numbers_and_nothing_at_all_are_finite():
    assert is_finite(torch.tensor([2**40]))
    assert is_finite(torch.tensor([True]))
    assert is_finite(torch.empty(0))


def test_numbers_of_eight_bits_are_looked_at():
    values = torch.tensor([1.0, 448.0]).to(torch.float8_e4m3fn)
    assert is_finite(values)
    assert not is_finite(torch.tensor([1.0, math.nan]).to(torch.float8_e4m3fn))
