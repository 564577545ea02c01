"""The minimum cost of a forward pass."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from casvit_mm.benchmark.roofline import roofline
from casvit_mm.deploy import fuse
from casvit_mm.models import CASViT

LIMITS = dict(gemm_flops_per_second=dict(fp32=1e11, bf16=4e11), copy_bytes_per_second=1e10)


# Multiply-accumulates in 1e9 at 224x224 of the published classifier, whose head is small.
@pytest.mark.parametrize(
    ('size', 'macs'), [('xs', 0.547), ('s', 0.912), ('m', 1.859), ('t', 3.557)]
)
def test_operations_match_those_of_the_paper(size, macs):
    assert roofline(size, 224, 1, LIMITS).flops / 2e9 == pytest.approx(macs, rel=0.01)


def test_cost_is_linear_in_pixels_and_batch_size():
    one = roofline('xs', 256, 1, LIMITS)
    assert roofline('xs', 256, 8, LIMITS).flops == pytest.approx(8 * one.flops, rel=1e-3)
    assert roofline('xs', 1024, 1, LIMITS).flops == pytest.approx(16 * one.flops, rel=1e-3)
    assert roofline('xs', 1024, 1, LIMITS).bytes == pytest.approx(16 * one.bytes, rel=0.2)


def test_each_convolution_is_bound_by_compute_or_memory_whichever_takes_longer():
    one = roofline('xs', 256, 1, LIMITS)
    compute, copy = one.flops / 1e11, one.bytes / 1e10
    assert max(compute, copy) <= one.seconds <= compute + copy
    fast = dict(LIMITS, copy_bytes_per_second=1e20)
    assert roofline('xs', 256, 1, fast).seconds == pytest.approx(compute)


def test_the_convolutions_are_all_the_operations_that_torch_counts():
    model = fuse(CASViT('xs').eval()).to('meta')
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 96, 96, device='meta'))
    assert roofline('xs', 96, 1, LIMITS).flops == counter.get_total_flops()
