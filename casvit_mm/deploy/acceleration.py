"""What makes the forward pass of a trained model faster: fusion, compilation, lower precision.

Compilation and lower precision take hold of the dense parts; see
:mod:`casvit_mm.speed.dense_parts`.
"""

from dataclasses import dataclass

from torch import nn

from casvit.tables import COMPILATIONS
from casvit_mm.deploy.fusion import fuse, is_fused
from casvit_mm.models.wrappers import unwrap
from casvit_mm.speed.dense_parts import (
    PRECISIONS,
    as_written,
    at_precision,
    compiled,
    dense_parts,
    in_full_precision,
    is_compiled,
    per_image,
)
from casvit_mm.speed.freed_memory import keep_freed_memory
from casvit_mm.speed.memory_format import to_channels_last


@dataclass(frozen=True)
class Acceleration:
    """What is done to a model to make it faster; each on its own keeps what it computes.

    Attributes:
        fuse: Fold batch norms and more, exactly; see :func:`casvit_mm.deploy.fuse`.
        compile: Compile the dense parts with ``torch.compile``: the first image takes a minute or
            more, all others less than before. True is for images of any size; ``'static'`` compiles
            anew for each size, up to torch's limit of eight sizes, which is faster still.
        precision: A key of :data:`PRECISIONS`: what the dense parts compute in. bf16 and fp16 are
            fast on GPUs; bf16 also on some CPUs with instructions for it, and slow on others.
        keep_memory: Have the process keep freed memory for its next tensors; see
            :func:`casvit_mm.speed.freed_memory.keep_freed_memory`.

    Raises:
        ValueError: The precision, or the way to compile, is not known.
    """

    fuse: bool = False
    compile: bool | str = False
    precision: str = 'fp32'
    keep_memory: bool = False

    def __post_init__(self) -> None:
        if self.compile not in COMPILATIONS:
            known = ', '.join(map(repr, COMPILATIONS))
            raise ValueError(f'compile={self.compile!r} is unknown; known: {known}')
        if self.precision not in PRECISIONS:
            raise ValueError(
                f'precision={self.precision!r} is unknown; known: {", ".join(PRECISIONS)}'
            )


def accelerate(model: nn.Module, acceleration: Acceleration) -> nn.Module:
    """Makes the forward pass of a trained model faster, in place.

    May be called again: what is fused or compiled already stays so, and is not fused or compiled
    twice. The precision is that of the last call.

    Args:
        model: A detector, segmentor or classifier with a CAS-ViT; wrappers for distributed runs or
            test-time augmentation are looked into.
        acceleration: What to do.

    Returns:
        The model.

    Raises:
        UnfusableModelError: The model is to be fused and has no CAS-ViT.
    """
    inner = unwrap(model)
    if acceleration.keep_memory:
        keep_freed_memory()
    compilation = acceleration.compile or any(
        is_compiled(part.forward) for part in per_image(inner)
    )
    if acceleration.fuse and not is_fused(inner):
        # Compiled code keeps the weights that it was compiled with; fusion makes other ones.
        for part in dense_parts(inner):
            if (plain := as_written(part.forward)) != part.forward:
                part.forward = plain
        fuse(inner)
    if acceleration.fuse or acceleration.compile:
        to_channels_last(inner)
    for part in per_image(inner):
        if compilation and not is_compiled(part.forward):
            part.forward = compiled(
                in_full_precision(part.forward),
                dynamic=compilation != 'static',
                constant_weights=True,
            )
    for part in dense_parts(inner):
        plain = in_full_precision(part.forward)
        if acceleration.precision != 'fp32':
            part.forward = at_precision(plain, PRECISIONS[acceleration.precision])
        elif plain != part.forward:
            part.forward = plain
    return model
