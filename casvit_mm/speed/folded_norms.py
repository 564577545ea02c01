"""Frozen batch norms taken up by the convolutions beside them, while the model trains.

With frozen statistics, as the published detection and segmentation recipes train, a batch norm is
``x * scale + shift``: applied to the weights of the convolution before it, or of the 1x1
convolution behind it, instead of to the feature map, it costs next to nothing, forward and
backward. Scale and shift stay parameters and get the same gradients; state dict and checkpoints
stay the same.
"""

from functools import partial

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn
from torch.nn import functional

from casvit_mm.models.casvit import MLP, Block, CASViT, LocalIntegration, PatchEmbedding
from casvit_mm.models.mixers import CASMixer


def fold_frozen_norms(backbone: CASViT) -> None:
    """Lets a backbone compute with its frozen norms folded, in place.

    A norm that is in training mode (``norm_eval=False``) works as before, and so does a token
    mixer that is not :class:`casvit_mm.models.CASMixer`.

    Args:
        backbone: The backbone. Its modules keep their parameters.
    """
    for block in (block for stage in backbone.stages for block in stage):
        block.forward = partial(_block, block)
    for embedding in backbone.patch_embeds:
        embedding.forward = partial(_patch_embedding, embedding)
    backbone.stem.forward = partial(_stem, backbone.stem)


def scale_and_shift(norm: nn.Module, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """What a batch norm with its own statistics does to each channel.

    Args:
        norm: The norm.
        dtype: What to compute in; that of the norm where None.

    Returns:
        Scale and shift, which the norm's parameters get gradients through. Shape: ``(C,)`` each.
    """
    mean, variance = norm.running_mean.to(dtype), norm.running_var.to(dtype)
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.to(dtype)
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.to(dtype)
    return scale, shift


def behind(weight: Tensor, bias: Tensor | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that the norm behind it was folded into.

    Shape: ``(C, I, K, K)`` and ``(C,)``, of a norm of C channels.
    """
    scale, shift = scale_and_shift(norm, weight.dtype)
    bias = shift if bias is None else shift + bias * scale
    return weight * scale.view(-1, 1, 1, 1), bias


def before(norm: nn.Module, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a 1x1 convolution or linear layer that the norm before it was folded into.

    Shape: ``(O, C, ...)`` and ``(O,)``, of a norm of C channels.
    """
    scale, shift = scale_and_shift(norm, weight.dtype)
    moved = weight.flatten(1) @ shift
    folded = weight * scale.view(1, -1, *(1,) * (weight.dim() - 2))
    return folded, moved if bias is None else moved + bias


def is_foldable(norm: nn.Module | None) -> bool:
    """Whether a layer is a batch norm that evaluates with statistics of its own."""
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def is_frozen(*norms: nn.Module) -> bool:
    """Whether layers are batch norms that work with statistics of their own now."""
    return all(is_foldable(norm) and not norm.training for norm in norms)


def is_frozen_in(backbone: CASViT) -> bool:
    """Whether a backbone has norms to fold when it trains."""
    was_training = backbone.training
    backbone.train()
    frozen = any(is_frozen(module) for module in backbone.modules())
    backbone.train(was_training)
    return frozen


def _block(block: Block, x: Tensor) -> Tensor:
    x = x + _integration(block.local_integration, x)
    mixer, mlp = block.mixer, block.mlp
    mixed = (
        _mixer(mixer, block.mixer_norm, x)
        if type(mixer) is CASMixer
        and is_frozen(block.mixer_norm, mixer.q_gate[0].saliency[1], mixer.k_gate[0].saliency[1])
        else mixer(block.mixer_norm(x))
    )
    x = x + block.drop_path(mixed)
    answer = _mlp(mlp, block.mlp_norm, x) if is_frozen(block.mlp_norm) else mlp(block.mlp_norm(x))
    return x + block.drop_path(answer)


def _integration(integration: LocalIntegration, x: Tensor) -> Tensor:
    first, norm, *others = integration.layers
    if not is_frozen(norm):
        return integration(x)
    x = _convolved(first, norm, x)
    for layer in others:
        x = layer(x)
    return x


def _mixer(mixer: CASMixer, norm: nn.Module, x: Tensor) -> Tensor:
    """``mixer(norm(x))``."""
    weights, biases = before(norm, mixer.qkv.weight, mixer.qkv.bias)
    # Three convolutions: thirds of one's output would have to be copied for what comes next.
    q, k, v = (
        functional.conv2d(x, weight, bias)
        for weight, bias in zip(weights.chunk(3), biases.chunk(3), strict=True)
    )
    similarity = _gates(mixer.q_gate, q) + _gates(mixer.k_gate, k)
    return mixer.proj(mixer.context(similarity) * v)


def _gates(gates: nn.Sequential, x: Tensor) -> Tensor:
    """The spatial gate with its norm folded, then the channel gate."""
    spatial, channel = gates
    neighbours, norm, activation, last = spatial.saliency
    near = activation(_convolved(neighbours, norm, x))
    return channel(x * last(near).sigmoid())


def _mlp(mlp: MLP, norm: nn.Module, x: Tensor) -> Tensor:
    """``mlp(norm(x))``."""
    return mlp.fc2(mlp.act(functional.conv2d(x, *before(norm, mlp.fc1.weight, mlp.fc1.bias))))


def _patch_embedding(embedding: PatchEmbedding, x: Tensor) -> Tensor:
    if not is_frozen(embedding.norm):
        return embedding.norm(embedding.proj(x))
    return _convolved(embedding.proj, embedding.norm, x)


def _stem(stem: nn.Sequential, x: Tensor) -> Tensor:
    first, first_norm, first_act, second, second_norm, second_act = stem
    for conv, norm, act in ((first, first_norm, first_act), (second, second_norm, second_act)):
        x = act(_convolved(conv, norm, x) if is_frozen(norm) else norm(conv(x)))
    return x


def _convolved(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """``norm(conv(x))``."""
    weight, bias = behind(conv.weight, conv.bias, norm)
    return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
