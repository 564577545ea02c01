"""Which operators the time of a call is spent in."""

import pytest
import torch
from mmengine.utils import digit_version

from casvit_mm.benchmark.operators import GENERATED, shares


def test_shares_sum_to_one_and_the_largest_comes_first():
    # Large enough that a pause of a busy machine does not change the order.
    left = torch.rand(1000, 1000)

    def call():
        torch.mm(left, left).add_(1)

    found = shares(call)
    assert next(iter(found)) == 'aten::mm'
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.4'),
    reason='torch 2.1 leaves them out of its profile',
)
def test_generated_kernels_are_one_entry():
    compiled = torch.compile(lambda x: (x.sin() + 1).cos() * 2, dynamic=True)
    image = torch.rand(64, 3, 64, 64)
    compiled(image)
    found = shares(lambda: compiled(image))
    assert found[GENERATED] > 0.1
    assert not any('CompiledFxGraph' in name for name in found)
