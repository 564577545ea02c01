"""CAS-ViT as a multi-scale backbone. Data flows from the top of this file to its end.

Source: "CAS-ViT: Convolutional Additive Self-attention Vision Transformers for Efficient Mobile
Applications", arXiv 2408.03703.
"""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_activation_layer, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn

from casvit_mm.models.arguments import (
    check_arguments,
    check_strides,
    linear_drop_path,
    resolve_arch,
)
from casvit_mm.models.backbone import Backbone, join_gradients
from casvit_mm.models.checkpoint.pretrained import refuse_fused
from casvit_mm.models.checkpoint.published_layout import adapt_backbone_keys
from casvit_mm.models.conv_norm import ConvNorms, is_frozen, norm_conv
from casvit_mm.models.layers import layer_of
from casvit_mm.models.mixers import build_mixer, depthwise, mixer_of_stages
from casvit_mm.registration import registered_in

MLP_RATIO = 4


def build_stem(in_channels: int, channels: int, norm_cfg: dict) -> ConvNorms:
    """Two strided 3x3 convolutions. Shape: ``(B, in_channels, H, W) -> (B, C, H/4, W/4)``."""
    return ConvNorms(
        nn.Conv2d(in_channels, channels // 2, 3, stride=2, padding=1),
        build_norm_layer(norm_cfg, channels // 2)[1],
        nn.ReLU(inplace=True),
        nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
        build_norm_layer(norm_cfg, channels)[1],
        nn.ReLU(inplace=True),
    )


class PatchEmbedding(ConvNorms):
    """Widens the features between two stages and, at stride 2, halves their resolution.

    Args:
        in_channels (int): Channels of the stage before.
        out_channels (int): Channels of the stage after.
        norm_cfg (dict): Normalisation layer.
        stride (int): 2, or 1 to keep the resolution. Defaults to 2.
        dilation (int): That of the stage before, whose resolution it reads. Defaults to 1.

    Shape: ``(B, in_channels, H, W) -> (B, out_channels, ceil(H/stride), ceil(W/stride))``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm_cfg: dict,
        stride: int = 2,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(
            in_channels, out_channels, 3, stride=stride, padding=dilation, dilation=dilation
        )
        self.norm = build_norm_layer(norm_cfg, out_channels)[1]


class LocalIntegration(nn.Module):
    """Mixes neighbouring positions before the token mixer (the paper's integration subnet).

    Args:
        channels (int): Channels C of the block.
        norm_cfg (dict): Normalisation layer.
        act_cfg (dict): Activation layer.
        dilation (int): Dilation of the depthwise convolution. Defaults to 1.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, channels: int, norm_cfg: dict, act_cfg: dict, dilation: int = 1) -> None:
        super().__init__()
        self.layers = ConvNorms(
            nn.Conv2d(channels, channels, 1),
            build_norm_layer(norm_cfg, channels)[1],
            depthwise(channels, dilation),
            build_activation_layer(act_cfg),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class MLP(nn.Module):
    """Position-wise perceptron of one hidden layer, as 1x1 convolutions.

    Args:
        channels (int): Channels C of the block; the hidden layer has ``4 * C``.
        act_cfg (dict): Activation layer.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, channels: int, act_cfg: dict) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, MLP_RATIO * channels, 1)
        self.act = build_activation_layer(act_cfg)
        self.fc2 = nn.Conv2d(MLP_RATIO * channels, channels, 1)

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Computes the perceptron of ``x``, or of ``norm(x)`` for a frozen norm."""
        x = self.fc1(x) if norm is None else norm_conv(norm, self.fc1, x)[0]
        return self.fc2(self.act(x))


class Block(nn.Module):
    """One CAS-ViT block: local integration, token mixer and MLP, each on a residual branch.

    Args:
        channels (int): Channels C.
        mixer (dict): Token mixer, a config for :data:`TOKEN_MIXERS`.
        drop_path (float): Probability to drop the mixer branch, and independently the MLP branch,
            of a sample.
        norm_cfg (dict): Normalisation layer.
        act_cfg (dict): Activation layer.
        dilation (int): Dilation of the depthwise convolutions. Defaults to 1.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Source: CAS-ViT, arXiv 2408.03703, figure 3.
    """

    folds_norms = False

    def __init__(
        self,
        channels: int,
        mixer: dict,
        drop_path: float,
        norm_cfg: dict,
        act_cfg: dict,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.local_integration = LocalIntegration(channels, norm_cfg, act_cfg, dilation)
        self.mixer_norm = build_norm_layer(norm_cfg, channels)[1]
        self.mixer = build_mixer(mixer, channels, norm_cfg, dilation)
        self.mlp_norm = build_norm_layer(norm_cfg, channels)[1]
        self.mlp = MLP(channels, act_cfg)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        # What inherits from a class may compute something else than it.
        self.mixer_takes_norm = vars(type(self.mixer)).get('takes_norm', False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.local_integration(x)
        x = x + self.drop_path(self._behind(self.mixer_norm, self.mixer, x, self.mixer_takes_norm))
        return x + self.drop_path(self._behind(self.mlp_norm, self.mlp, x, True))

    def _behind(self, norm: nn.Module, module: nn.Module, x: Tensor, takes_norm: bool) -> Tensor:
        """``module(norm(x))``."""
        if self.folds_norms and takes_norm and is_frozen(norm):
            return module(x, norm)
        return module(norm(x))


@registered_in(MODELS)
class CASViT(Backbone):
    """CAS-ViT backbone: convolutional additive self-attention, linear in the number of pixels.

    ::

        image ─ stem ─┬─ stage 0 ─┬─ patch embedding ─ stage 1 ─┬─ … ─ stage 3 ─┐
                 1/4  │  N0 blocks│        1/8       N1 blocks  │               │
                      │        out_norm 0                   out_norm 1      out_norm 3
                      │           │                             │               │
                      └──── features at strides 4, 8, 16, 32, the stages of ``out_indices``

    A stage receives the un-normalised output of the stage before. Stages behind the last one of
    ``out_indices`` are not built, and stages that are not asked for have no output norm. Every
    parameter gets a gradient, as DistributedDataParallel wants, also if the head leaves a level
    unread: see :func:`casvit_mm.models.backbone.join_gradients`.

    Args:
        arch (str | dict): Size: 'xs', 's', 'm', 't' or 'l', or a dict with ``depths`` and
            ``channels``, four integers each (channels of the first stage even). Defaults to 'm'.
        in_channels (int): Channels of the input image. Pretrained RGB weights are adapted if
            it is not 3. Defaults to 3.
        strides (Sequence[int]): Stride of the patch embedding before each stage, 1 or 2; the first
            is 1, because the stem comes before that stage. Defaults to (1, 2, 2, 2).
        dilations (Sequence[int]): Dilation of the depthwise convolutions of each stage. A patch
            embedding has that of the stage before. Defaults to (1, 1, 1, 1).
        out_indices (Sequence[int]): Stages to output, ascending. Defaults to (0, 1, 2, 3).
        drop_path_rate (float): Drop path rate of the last block; it rises linearly from 0 at the
            first. Defaults to 0.
        frozen_stages (int): Stages whose parameters and statistics are frozen: -1 none, 0 the
            stem, n the stem and the first n stages. Defaults to -1.
        norm_cfg (dict): Normalisation layer. Defaults to ``dict(type='BN')``.
        act_cfg (dict): Activation of local integration and MLP (stem and gates are ReLU by
            definition). Defaults to ``dict(type='GELU')``, the exact (erf) form.
        norm_eval (bool): Keep every batch norm of the backbone in eval mode while training, as the
            published detection and segmentation recipes do: statistics frozen, scale and shift
            trained. Wants pretrained weights; set it to False to train from scratch.
            Defaults to True.
        with_cp (bool): Activation checkpointing: recompute the blocks in the backward pass instead
            of storing their activations. Same numbers, less memory, more time. Defaults to False.
        mixer (dict | list[dict]): Token mixer of the blocks, a config for
            :data:`casvit_mm.models.TOKEN_MIXERS`, or a list of four, one for each stage. Defaults
            to ``dict(type='CASMixer')``.
        init_cfg (dict | list[dict], optional): Initialisation. With ``dict(type='Pretrained',
            checkpoint=FILE)``, FILE is any file that :mod:`casvit_mm.models.checkpoint` reads, a
            published one among them; ``weights='ema'`` takes its moving average.

    Heads like DeepLab's want features of stride 16 or 8 from the last stage. Weights are the same::

        output stride 16: strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)
        output stride 8:  strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)

    Shape: ``(B, in_channels, H, W)`` -> tuple of ``(B, channels[i], ceil(H/s), ceil(W/s))`` with
    s = 4, 8, 16, 32 for the stages i of ``out_indices`` (4, 8, 16, 16 and 4, 8, 8, 8 in the two
    cases above); H and W are arbitrary.

    Raises:
        ValueError: An argument has a value that is not allowed; the message lists those that are.

    Example:
        >>> import torch
        >>> from casvit_mm.models import CASViT
        >>> [tuple(level.shape) for level in CASViT('xs')(torch.rand(1, 3, 64, 96))]
        [(1, 48, 16, 24), (1, 56, 8, 12), (1, 112, 4, 6), (1, 220, 2, 3)]
    """

    name = 'CASViT'

    def __init__(
        self,
        arch: str | dict[str, Sequence[int]] = 'm',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        norm_eval: bool = True,
        with_cp: bool = False,
        mixer: dict | Sequence[dict] | None = None,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        depths, channels = resolve_arch(arch)
        check_arguments(in_channels, out_indices, drop_path_rate, frozen_stages)
        check_strides(strides, dilations)
        norm_cfg = norm_cfg or dict(type='BN')
        act_cfg = act_cfg or dict(type='GELU')
        mixers = mixer_of_stages(mixer, len(depths))

        self.arch = arch
        self.in_channels = in_channels
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(channels[index] for index in out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        num_stages = max(out_indices) + 1
        self.depths = depths[:num_stages]
        drop_path_rates = linear_drop_path(drop_path_rate, depths)
        self.stem = build_stem(in_channels, channels[0], norm_cfg)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(channels[stage], mixers[stage], rate, norm_cfg, act_cfg, dilations[stage])
                    for rate in drop_path_rates[stage]
                )
            )
            for stage in range(num_stages)
        )
        self.patch_embeds = nn.ModuleList(
            PatchEmbedding(
                channels[stage],
                channels[stage + 1],
                norm_cfg,
                strides[stage + 1],
                dilations[stage],
            )
            for stage in range(num_stages - 1)
        )
        self.out_norms = nn.ModuleDict(
            {str(stage): build_norm_layer(norm_cfg, channels[stage])[1] for stage in out_indices}
        )
        self._register_load_state_dict_pre_hook(self._adapt_on_load)
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the features of the stages of ``out_indices``."""
        features = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            if index > 0:
                x = self.patch_embeds[index - 1](x)
            for block in stage.children():
                x = self._run(block, x)
            # By its norm: the compiler of torch 2.1 takes the numbers of an attribute for sizes.
            if str(index) in self.out_norms:
                features.append(self.out_norms[str(index)](x))
        return join_gradients(features)

    def adapt_state_dict(self, state_dict: dict[str, Tensor], prefix: str = '') -> list[str]:
        """Rewrites published keys and RGB stems in place to what this backbone expects.

        Args:
            state_dict: Weights, changed in place; keys that do not start with ``prefix`` stay.
            prefix: Where this backbone stands in ``state_dict``, e.g. ``'backbone.'``.

        Returns:
            Sentences that say what was changed or left out.
        """
        return adapt_backbone_keys(state_dict, prefix, self.in_channels, self.out_indices)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """The layer of a parameter, as mmpretrain's layer-wise learning-rate decay asks for it.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: Where this backbone stands in the model, e.g. ``'backbone.'``.

        Returns:
            Number of the layer, 0 for the stem, and how many there are; what is not of the backbone
            is in the last one.
        """
        head = sum(self.depths) + 1
        inside = param_name.startswith(prefix)
        return layer_of(param_name[len(prefix) :], self.depths) if inside else head, head + 1

    def _adapt_on_load(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        refuse_fused(state_dict, prefix)
        for note in self.adapt_state_dict(state_dict, prefix):
            print_log(note, logger='current')

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        frozen: list[nn.Module] = [self.stem]
        for index in range(min(self.frozen_stages, len(self.stages))):
            frozen.append(self.stages[index])
            if index > 0:
                frozen.append(self.patch_embeds[index - 1])
            if index in self.out_indices:
                frozen.append(self.out_norms[str(index)])
        for module in frozen:
            module.eval()
            module.requires_grad_(False)
