"""CAS-ViT for inference: the same function with fewer passes over memory.

What becomes of a block, ``u`` being its input::

    local integration    conv 1x1 · BN            -> conv 1x1
    token mixer          BN · conv 1x1 (q, k, v)  -> conv 1x1 (q, k) and conv 1x1 (v)
                         dw 3x3 · BN, of q and k  -> dw 3x3 of both at once
                         gates of q and k         -> of both at once
    MLP                  BN · conv 1x1            -> conv 1x1
    drop path            gone

The stem and the patch embeddings take up the norms behind them.
"""

import copy
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn

from casvit.errors import UserError
from casvit_mm.deploy.convolutions import (
    FusedConv2d,
    activation_name,
    gate_products,
    weighted_pair,
)
from casvit_mm.deploy.folding import (
    fold_into_next,
    fold_into_previous,
    with_weights,
)
from casvit_mm.models import CASMixer, CASViT
from casvit_mm.models.casvit import MLP, Block, LocalIntegration
from casvit_mm.models.conv_norm import is_foldable


class FusedModelError(UserError, RuntimeError):
    """A fused model was asked for what only the model can do that it was made from."""


class FusedCASMixer(nn.Module):
    """The branch of a :class:`casvit_mm.models.CASMixer`: ``x + mixer(norm(x))``, for inference.

    Query and key lie side by side in one tensor, and so do their gates.

    Args:
        mixer (CASMixer): The mixer.
        norm (nn.Module): The norm whose output it is given; foldable.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, mixer: CASMixer, norm: nn.Module) -> None:
        super().__init__()
        channels = mixer.proj.in_channels
        qkv = fold_into_next(norm, mixer.qkv)
        gates: list[Any] = [mixer.q_gate, mixer.k_gate]
        spatial = [gate[0].saliency for gate in gates]
        channel = [gate[1].saliency[1] for gate in gates]
        neighbours = side_by_side([fold_into_previous(gate[0], gate[1]) for gate in spatial])
        self.qk = FusedConv2d(rows(qkv, slice(0, 2 * channels)))
        self.v = FusedConv2d(rows(qkv, slice(2 * channels, None)))
        self.neighbours = with_activation(neighbours, spatial[0][2])
        self.spatial = side_by_side([gate[3] for gate in spatial])
        self.channel = side_by_side(channel)
        self.context = FusedConv2d(mixer.context)
        self.proj = FusedConv2d(mixer.proj)

    def forward(self, x: Tensor) -> Tensor:
        qk = self.qk(x)
        saliency = gate_products(self.spatial, self.neighbours(qk)).sigmoid()
        # The compiler of torch 2.1 does not trace zip(strict=True).
        (q, k), (q_gate, k_gate) = qk.chunk(2, 1), saliency.chunk(2, 1)
        q, k = q * q_gate, k * k_gate
        pooled = torch.cat([q.mean((2, 3), keepdim=True), k.mean((2, 3), keepdim=True)], 1)
        q_weight, k_weight = gate_products(self.channel, pooled).sigmoid().chunk(2, 1)
        similarity = weighted_pair(q, q_weight, k, k_weight)
        return self.proj(self.context(similarity) * self.v(x), residual=x)


class FusedMLP(nn.Module):
    """The branch of an MLP: ``x + mlp(norm(x))``, for inference.

    Args:
        mlp (MLP): The MLP.
        norm (nn.Module): The norm whose output it is given; foldable.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, mlp: MLP, norm: nn.Module) -> None:
        super().__init__()
        self.hidden = with_activation(fold_into_next(norm, mlp.fc1), mlp.act)
        self.out = FusedConv2d(mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x), residual=x)


class FusedLocalIntegration(nn.Module):
    """The branch of a local integration: ``x + integration(x)``, for inference.

    Args:
        integration (LocalIntegration): With a foldable norm.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, integration: LocalIntegration) -> None:
        super().__init__()
        layers: Any = integration.layers
        first, norm, neighbours, activation, last = layers
        self.first = FusedConv2d(fold_into_previous(first, norm))
        self.neighbours = with_activation(neighbours, activation)
        self.last = FusedConv2d(last)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.neighbours(self.first(x)), residual=x)


class Branch(nn.Module):
    """A residual branch that has nothing to fold: ``x + branch(x)``."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


@singledispatch
def fuse_branch(module: nn.Module, norm: nn.Module) -> nn.Module:
    """One module that is ``x + module(norm(x))`` in eval mode.

    Register what a token mixer of your own becomes with ``@fuse_branch.register``. Any other stays
    as it is, behind its norm, or with the norm in the layer that ``reads_with`` names.

    Args:
        module: Token mixer or MLP.
        norm: The norm before it.
    """
    reader = vars(type(module)).get('reads_with')
    if reader is None or not is_foldable(norm):
        return Branch(norm, module)
    module = copy.deepcopy(module)
    setattr(module, reader, fold_into_next(norm, getattr(module, reader)))
    return Branch(module)


@fuse_branch.register
def _(module: CASMixer, norm: nn.Module) -> nn.Module:
    gates: list[Any] = [module.q_gate[0], module.k_gate[0]]
    inner = [gate.saliency[1] for gate in gates]
    # What inherits from it may compute something else.
    foldable = type(module) is CASMixer and all(map(is_foldable, [norm, *inner]))
    return FusedCASMixer(module, norm) if foldable else Branch(norm, module)


@fuse_branch.register
def _(module: MLP, norm: nn.Module) -> nn.Module:
    return FusedMLP(module, norm) if is_foldable(norm) else Branch(norm, module)


def fuse_block(block: Block) -> nn.Sequential:
    """A block for inference: its three branches. Shape: ``(B, C, H, W) -> (B, C, H, W)``."""
    integration = block.local_integration
    foldable = is_foldable(integration.layers[1])
    return nn.Sequential(
        FusedLocalIntegration(integration) if foldable else Branch(integration),
        fuse_branch(block.mixer, block.mixer_norm),
        fuse_branch(block.mlp, block.mlp_norm),
    )


class FusedCASViT(nn.Module):
    """A :class:`casvit_mm.models.CASViT` for inference: the same features, in less time.

    Args:
        backbone (CASViT): The trained backbone, which stays as it is.

    Shape: ``(B, in_channels, H, W)`` -> tuple of ``(B, channels[i], ceil(H/s), ceil(W/s))``, as of
    the backbone.
    """

    def __init__(self, backbone: CASViT) -> None:
        super().__init__()
        backbone = copy.deepcopy(backbone)
        self.out_indices = backbone.out_indices
        self.out_channels = backbone.out_channels
        stem: Any = backbone.stem
        stages: Any = backbone.stages
        embeddings: Any = backbone.patch_embeds
        self.stem = nn.Sequential(fuse_layers(*stem[:3]), fuse_layers(*stem[3:]))
        self.stages = nn.ModuleList(nn.Sequential(*map(fuse_block, stage)) for stage in stages)
        self.patch_embeds = nn.ModuleList(
            fuse_layers(embedding.proj, embedding.norm) for embedding in embeddings
        )
        self.out_norms = backbone.out_norms
        self.eval()
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the features of the stages of ``out_indices``."""
        features = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            if index > 0:
                x = self.patch_embeds[index - 1](x)
            x = stage(x)
            if index in self.out_indices:
                features.append(self.out_norms[str(index)](x))
        return tuple(features)

    def train(self, mode: bool = True) -> 'FusedCASViT':
        """Refuses to train: the norms are gone.

        Raises:
            FusedModelError: ``mode`` is true.
        """
        if mode:
            raise FusedModelError(
                'A fused CAS-ViT cannot be trained: its batch norms are folded into the '
                'convolutions. Train the model that it was fused from, and fuse that again.'
            )
        return super().train(False)


def fuse_layers(
    convolution: nn.Conv2d, norm: nn.Module, activation: nn.Module | None = None
) -> nn.Module:
    """``activation(norm(convolution(x)))`` as one convolution if the norm can be folded."""
    if not is_foldable(norm):
        return nn.Sequential(*(each for each in (convolution, norm, activation) if each))
    folded = fold_into_previous(convolution, norm)
    return FusedConv2d(folded) if activation is None else with_activation(folded, activation)


def with_activation(convolution: nn.Conv2d, activation: nn.Module) -> nn.Module:
    """``activation(convolution(x))``, as one module if the convolution can do it itself."""
    name = activation_name(activation)
    if name is None:
        return nn.Sequential(convolution, activation)
    return FusedConv2d(convolution, name)


def rows(convolution: nn.Conv2d, chosen: slice) -> nn.Conv2d:
    """The convolution that answers some of the output channels of another."""
    weight, bias = convolution.weight[chosen], convolution.bias
    new = with_weights(convolution, weight.clone(), None if bias is None else bias[chosen].clone())
    new.out_channels = len(weight)
    return new


def side_by_side(convolutions: list[nn.Conv2d]) -> nn.Conv2d:
    """One grouped convolution that answers ``cat([conv(x_i)])`` for ``cat([x_i])``.

    Args:
        convolutions: Convolutions of equal channels, kernels and groups.
    """
    first, biases = convolutions[0], [each.bias for each in convolutions if each.bias is not None]
    weight = torch.cat([each.weight.detach() for each in convolutions])
    new = with_weights(first, weight, torch.cat(biases) if biases else None)
    new.groups = len(convolutions) * first.groups
    new.in_channels = len(convolutions) * first.in_channels
    new.out_channels = len(convolutions) * first.out_channels
    return new
