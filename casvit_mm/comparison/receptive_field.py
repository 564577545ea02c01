"""The effective receptive field: how much each pixel moves the features at the centre.

Source: "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", arXiv
1701.04128; sizes by share of the total as in RepLKNet, arXiv 2203.06717.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from casvit_mm.models.backbone import is_batch_norm

SHARES = (0.2, 0.5, 0.9)
CELLS = 64
NEAR_ZERO = 0.01
SMALLEST = torch.finfo(torch.float64).tiny
# Powers of ten; what is smaller is shown like it.
DEEPEST = -4.0


def receptive_field(backbone: nn.Module, images: Tensor) -> dict[str, Any]:
    """Measures the effective receptive field of the last feature of a backbone.

    Args:
        backbone: In eval mode.
        images: Images to average over. Shape: ``(N, 3, H, W)``.

    Returns:
        - ``side``: that of the images, in pixels.
        - ``sides``: by percentage of the energy, the side of the smallest square that holds it, in
          pixels.
        - ``centre``: the row and column of the centre of these squares.
        - ``map``: rows of at most 64 x 64 cells: the power of ten of the mean energy of their
          pixels, divided by that of the strongest cell; at least -4.
    """
    found = energy(backbone, images)
    height, width = found.shape
    cells = adaptive_avg_pool2d(found[None], (min(CELLS, height), min(CELLS, width)))[0]
    powers = (cells / cells.max().clamp(min=SMALLEST)).log10().clamp(min=DEEPEST)
    return {
        'side': max(height, width),
        'sides': {f'{share:.0%}': side_of_square(found, share) for share in SHARES},
        'centre': list(centre_of(found)),
        'map': [[round(value, 2) for value in row] for row in powers.tolist()],
    }


def energy(backbone: nn.Module, images: Tensor) -> Tensor:
    """The mean size of the gradients of the central feature of the last level.

    Its channels are added with random signs: in backbones that end in a layer norm their plain sum
    is the same for all images, and has no gradient.

    Args:
        backbone: In eval mode.
        images: Images to average over. Shape: ``(N, C, H, W)``.

    Returns:
        The gradient of this sum with respect to each pixel: its absolute value, summed over the
        channels of the image, averaged over the images. Shape: ``(H, W)``, float64, on the CPU.
    """
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for image in images.split(1):
        pixels = image.clone().requires_grad_()
        last = backbone(pixels)[-1]
        signs = 2 * torch.randint(2, last.shape[1:2], generator=generator) - 1
        centre = last[0, :, last.shape[2] // 2, last.shape[3] // 2]
        (gradient,) = torch.autograd.grad((centre * signs.to(centre)).sum(), pixels)
        total += gradient.abs().sum((0, 1)).double().cpu()
    return total / len(images)


def centre_of(energy: Tensor) -> tuple[int, int]:
    """The row and the column that halve the energy.

    Backbones differ in where on the image their central feature lies, by up to half a stride.

    Args:
        energy: Shape: ``(H, W)``.
    """
    row, column = (
        int(torch.searchsorted(line.cumsum(0), line.sum() / 2))
        for line in (energy.sum(1), energy.sum(0))
    )
    return row, column


def side_of_square(energy: Tensor, share: float) -> int:
    """The side of the smallest square around the centre that holds a share of the energy.

    Args:
        energy: Shape: ``(H, W)``.
        share: Between 0 and 1.

    Returns:
        An odd number of pixels; at most the larger side of the image.
    """
    row, column = centre_of(energy)
    height, width = energy.shape
    rows = (torch.arange(height) - row).abs()[:, None]
    columns = (torch.arange(width) - column).abs()[None]
    # The rings of pixels at the same distance from the centre.
    rings = torch.zeros(max(height, width), dtype=energy.dtype)
    rings.index_add_(0, torch.maximum(rows, columns).flatten(), energy.flatten())
    held = rings.cumsum(0)
    radius = int(torch.searchsorted(held, share * float(held[-1])))
    return min(2 * radius + 1, max(height, width))


@torch.no_grad()
def open_branches(backbone: nn.Module) -> None:
    """Sets the scales of residual branches that training starts near zero to 1, in place.

    They are parameters that have one small value, other than biases: weights of the last norm of a
    branch in ResNet, layer scales in ConvNeXt and others. With them the backbone would hardly look
    beyond its downsampling layers.

    Args:
        backbone: With random weights.
    """
    for name, parameter in backbone.named_parameters():
        first = parameter.flatten()[0]
        if 'bias' not in name and first.abs() < NEAR_ZERO and (parameter == first).all():
            parameter.fill_(1)


@torch.no_grad()
def set_statistics(backbone: nn.Module, images: Tensor) -> None:
    """Gives the batch norms of a backbone from random weights the statistics of images, in place.

    Without them its features shrink or grow from block to block, other than in any trained one.

    Args:
        backbone: In eval mode, without drop path.
        images: Two or more. Shape: ``(N, 3, H, W)``.
    """
    norms: Sequence[Any] = [each for each in backbone.modules() if is_batch_norm(each)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    backbone(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
