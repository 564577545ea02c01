"""What a model is called, for people."""

from torch import nn


def model_name(model: nn.Module) -> str:
    """The class of a model, and its backbone: 'MaskRCNN with CAS-ViT-XS'."""
    name, backbone = type(model).__name__, getattr(model, 'backbone', None)
    if not isinstance(backbone, nn.Module):
        return name
    arch, kind = getattr(backbone, 'arch', None), type(backbone).__name__
    if kind == 'CASViT' and isinstance(arch, str):
        kind = f'CAS-ViT-{arch.upper()}'
    return f'{name} with {kind}'
