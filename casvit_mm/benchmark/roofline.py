"""The shortest possible time of a forward pass, from its operations and memory traffic.

It is the sum over the convolutions of the fused backbone: each does its multiplications and
additions, reads its input once and writes its output once. A convolution cannot take less time than
its operations at the rate of a large matrix product, nor less than its bytes at the rate of a large
copy. Data in a cache moves faster than that, so a share above 1 is possible.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from casvit_mm.benchmark.machine import Limits
from casvit_mm.deploy import fuse
from casvit_mm.models import CASViT

BYTES = {'fp32': 4, 'bf16': 2}


@dataclass(frozen=True)
class Roofline:
    """The lower bound of a forward pass.

    Attributes:
        flops: Multiplications and additions.
        bytes: Bytes read and written.
        seconds: Sum of the lower bounds of the convolutions.
    """

    flops: int
    bytes: int
    seconds: float


def roofline(
    size: str,
    image_size: int,
    batch_size: int,
    limits: Limits,
    *,
    precision: str = 'fp32',
    training: bool = False,
) -> Roofline:
    """Computes the roofline of a backbone.

    Args:
        size: Name of the CAS-ViT size.
        image_size: Side of the square image, in pixels.
        batch_size: Images per batch.
        limits: The result of :func:`casvit_mm.benchmark.machine.limits`.
        precision: Precision of operations and data: one that the limits contain.
        training: Whether to count forward and backward: the gradients of a convolution's input and
            of its weights are each a convolution with as many operations and bytes. The gradient
            of the image, which is not needed, is included: less than 1%.
    """
    model = fuse(CASViT(size).eval()).to('meta')
    costs: list[tuple[int, int]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda *call: costs.append(_cost(*call, precision=precision))
            )
    image = torch.empty(batch_size, 3, image_size, image_size, device='meta')
    with torch.no_grad():
        model(image)
    flops = sum(each for each, _ in costs)
    compute = limits['gemm_flops_per_second'][precision]
    copy = limits['copy_bytes_per_second']
    seconds = sum(max(work / compute, moved / copy) for work, moved in costs)
    passes = 3 if training else 1
    return Roofline(passes * flops, passes * sum(moved for _, moved in costs), passes * seconds)


def _cost(
    module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor, *, precision: str
) -> tuple[int, int]:
    """Operations and bytes of one convolution."""
    per_value = module.weight[0].numel()
    moved = sum(each.numel() for each in inputs) + module.weight.numel() + output.numel()
    return 2 * output.numel() * per_value, BYTES[precision] * moved
