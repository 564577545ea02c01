"""HorNet of mmpretrain as a backbone of the same necks and heads, to compare CAS-ViT with."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from casvit.sentences import first_line
from casvit_mm.models.arguments import check_arguments
from casvit_mm.models.backbone import Backbone, is_batch_norm, join_gradients
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

PREFIX = 'hornet_'
# The output norms that a classifier of mmpretrain has: one, of pooled features.
LAST = {'3'}
# Arguments of mmpretrain's class that this one sets, or for which it has its own.
RESERVED = frozenset(
    [
        'arch',
        'drop_path_rate',
        'frozen_stages',
        'gap_before_final_norm',
        'in_channels',
        'init_cfg',
        'out_indices',
        'with_cp',
    ]
)


@registered_in(MODELS)
class HorNetPyramid(Backbone):
    """HorNet with the features and the arguments of :class:`CASViT`; mmpretrain builds its layers.

    Nothing is downloaded: its weights are random, or those of a local file. mmpretrain's own class
    is a backbone too, but freezes other norms than those of the frozen stages, and keeps stages
    behind the last output.

    Args:
        name (str): 'hornet_' and an architecture of mmpretrain: 'hornet_tiny', 'hornet_small',
            'hornet_base', 'hornet_large'; with '_gf' behind it, the one with global filters.
        in_channels (int): Channels of the input image. Defaults to 3.
        out_indices (Sequence[int]): Features to output, ascending: 0 to 3 for the strides 4, 8,
            16, 32. Defaults to (0, 1, 2, 3).
        drop_path_rate (float): Drop path rate. Defaults to 0.
        frozen_stages (int): Stages whose parameters are frozen: -1 none, 0 the patch embedding
            before the first stage, n that and the first n stages. Defaults to -1.
        norm_eval (bool): As for :class:`CASViT`; HorNet has no batch norms. Defaults to True.
        with_cp (bool): Activation checkpointing, block by block. Defaults to False.
        options (dict, optional): Other arguments of mmpretrain's ``HorNet``.
        init_cfg (dict | list[dict], optional): Initialisation. With ``dict(type='Pretrained',
            checkpoint=FILE)``, FILE holds the weights as mmpretrain publishes them, or is a
            checkpoint of a model with this backbone; it is read by
            :mod:`casvit_mm.models.checkpoint`.

    Attributes:
        out_channels (tuple[int, ...]): Channels of its features.

    Shape: ``(B, in_channels, H, W)`` -> tuple of ``(B, out_channels[i], H/s, W/s)``, rounded down,
    where s = 4, 8, 16, 32 for the features of ``out_indices``. H and W are at least 32.

    Raises:
        ValueError: mmpretrain has no such HorNet, or an argument has a value that is not allowed.
        MissingPackageError: mmpretrain is not installed.

    Source: "HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions",
    arXiv 2207.14284.
    """

    def __init__(
        self,
        name: str,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = True,
        with_cp: bool = False,
        options: Mapping[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_arguments(in_channels, out_indices, drop_path_rate, frozen_stages)
        self.name = name
        self.in_channels = in_channels
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.network = _create(
            name,
            dict(options or {}),
            in_channels=in_channels,
            out_indices=self.out_indices,
            drop_path_rate=drop_path_rate,
        )
        self.out_channels = tuple(
            self.network.stages[index][0].out_channels for index in self.out_indices
        )
        self.out_norms = nn.ModuleDict()
        for index in self.out_indices:
            self.out_norms[str(index)] = getattr(self.network, f'norm{index}')
            delattr(self.network, f'norm{index}')
        for part in (self.network.downsample_layers, self.network.stages):
            del part[max(self.out_indices) + 1 :]
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the features of ``out_indices``."""
        features = []
        stages = zip(self.network.downsample_layers, self.network.stages, strict=True)
        for index, (embed, stage) in enumerate(stages):
            x = embed(x)
            for block in stage.children():
                x = self._run(block, x)
            if str(index) in self.out_norms:
                features.append(self.out_norms[str(index)](x))
        return join_gradients(features)

    def adapt_state_dict(self, state_dict: dict[str, Tensor], prefix: str = '') -> list[str]:
        """Rewrites the keys of a file of mmpretrain in place to those of this backbone.

        Args:
            state_dict: Weights, changed in place; keys that do not start with ``prefix`` stay.
            prefix: Where this backbone stands in ``state_dict``, e.g. ``'backbone.'``.

        Returns:
            Sentences that say what was changed or left out.
        """
        expected = self.state_dict().keys()
        keys = {key: key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)}
        norms = {match[1] for inside in keys.values() if (match := _norm(inside))}
        for key, inside in keys.items():
            if match := _norm(inside):
                value = state_dict.pop(key)
                if norms != LAST:
                    state_dict[f'{prefix}out_norms.{match[1]}.{match[2]}'] = value
            elif inside not in expected and f'network.{inside}' in expected:
                state_dict[f'{prefix}network.{inside}'] = state_dict.pop(key)
        return ["left out the norm behind a classifier's pooling"] if norms == LAST else []

    def _keeps_statistics(self) -> bool:
        return self.norm_eval and any(map(is_batch_norm, self.modules()))

    def _freeze_stages(self) -> None:
        for module in self._frozen():
            module.eval()
            module.requires_grad_(False)

    def _frozen(self) -> Iterator[nn.Module]:
        network = self.network
        if self.frozen_stages >= 0:
            yield network.downsample_layers[0]
        for index in range(min(self.frozen_stages, len(network.stages))):
            yield network.downsample_layers[index]
            yield network.stages[index]
            if str(index) in self.out_norms:
                yield self.out_norms[str(index)]


def _norm(key: str) -> re.Match[str] | None:
    """The stage and the parameter of an output norm, as mmpretrain names it."""
    return re.fullmatch(r'norm(\d)\.(.+)', key)


def _create(name: str, options: dict[str, Any], **arguments: Any) -> Any:
    """The HorNet of mmpretrain, with random weights."""
    with toolbox('mmpretrain'):
        from mmpretrain.models import HorNet
    # Each architecture has a short and a long name there; the long one comes last.
    architectures = {id(settings): arch for arch, settings in HorNet.arch_zoo.items()}.values()
    known = [PREFIX + arch.replace('-', '_') for arch in architectures]
    if name not in known:
        raise ValueError(
            f'name={name!r}: mmpretrain has no such HorNet; there are {", ".join(known)}'
        )
    if refused := sorted(RESERVED & set(options)):
        raise ValueError(
            f'options={options!r}: {refused[0]} is set by HorNetPyramid, from its other arguments'
        )
    try:
        return HorNet(
            arch=name.removeprefix(PREFIX).replace('_', '-'),
            gap_before_final_norm=False,
            **arguments,
            **options,
        )
    except TypeError as error:
        raise ValueError(f'options={options!r}: {first_line(error)}') from error
