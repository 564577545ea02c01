"""What can be measured: a backbone, in a variant, on pictures of a size."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from casvit_mm.benchmark.reference import Reference
from casvit_mm.deploy import fuse
from casvit_mm.models import CASViT
from casvit_mm.models.dense_parts import PRECISIONS, at_precision, compiled
from casvit_mm.models.folded_norms import fold_frozen_norms

VARIANTS = {
    'inference': ('reference', 'eager', 'fused', 'compiled'),
    'training': ('reference', 'eager', 'folded', 'compiled'),
}
"""By mode. ``reference`` is the published forward pass; ``eager`` this package's, channels last;
``fused`` that of a fused model; ``folded`` that of one whose frozen norms are folded; ``compiled``
the one before it by ``torch.compile``."""


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        size: Name of the CAS-ViT: 'xs', 's', 'm', 't' or 'l'.
        variant: One of the :data:`VARIANTS` of its mode.
        precision: A key of :data:`casvit_mm.models.dense_parts.PRECISIONS`.
        mode: ``'inference'``, a forward pass; ``'training'``, forward and backward with the norms'
            statistics frozen, as the detection recipes train.
        image_size: Side of the square picture, in pixels.
        batch_size: Pictures at once.
        device: Where.

    Raises:
        ValueError: A value is not known, or there is no such variant in this mode.
    """

    size: str
    variant: str
    precision: str = 'fp32'
    mode: str = 'inference'
    image_size: int = 512
    batch_size: int = 1
    device: str = 'cpu'

    def __post_init__(self) -> None:
        known = {
            'mode': VARIANTS,
            'variant': VARIANTS.get(self.mode, ()),
            'precision': PRECISIONS,
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f'{name}={getattr(self, name)!r} is unknown in {self.mode}; known: '
                    f'{", ".join(values)}'
                )

    @property
    def name(self) -> str:
        """What tells it from the others of its group."""
        return self.variant if self.precision == 'fp32' else f'{self.variant} {self.precision}'

    @property
    def group(self) -> tuple[str, str, int, int, str]:
        """What it shares with those it is compared with."""
        return self.size, self.mode, self.image_size, self.batch_size, self.device


def prepare(case: Case) -> Callable[[], None]:
    """Builds what is to be measured.

    Args:
        case: The case. Weights and picture are random, from a fixed seed.

    Returns:
        A function that does it once, and returns when it is done.
    """
    torch.manual_seed(0)
    training = case.mode == 'training'
    backbone = CASViT(case.size).train(training).to(case.device)
    shape = (case.batch_size, 3, case.image_size, case.image_size)
    image = torch.randn(shape, device=case.device)
    forward = build(backbone, image, case)
    if not training:
        return lambda: _infer(forward, image)
    return lambda: _train(forward, image, backbone)


def build(backbone: CASViT, image: Tensor, case: Case) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The forward pass of a case."""
    if case.variant == 'reference':
        forward: Callable = Reference(backbone)
    else:
        model: nn.Module = backbone
        if case.variant != 'eager' and case.mode == 'training':
            fold_frozen_norms(backbone)
        elif case.variant != 'eager':
            model = fuse(backbone)
        forward = model.to(memory_format=torch.channels_last).forward
        if case.variant == 'compiled':
            forward = compiled(forward)
    if case.precision != 'fp32':
        forward = at_precision(forward, PRECISIONS[case.precision])
    return forward


def _infer(forward: Callable, image: Tensor) -> None:
    with torch.no_grad():
        forward(image)
    _finish(image)


def _train(forward: Callable, image: Tensor, backbone: nn.Module) -> None:
    sum(level.square().mean() for level in forward(image)).backward()
    for parameter in backbone.parameters():
        parameter.grad = None
    _finish(image)


def _finish(tensor: Tensor) -> None:
    """Waits for what a GPU was told to do."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
