"""Models of timm as backbones of the same necks and heads, to compare CAS-ViT with."""

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from casvit.errors import MissingPackageError
from casvit.sentences import first_line
from casvit_mm.models.arguments import check_arguments
from casvit_mm.models.backbone import Backbone, is_batch_norm, join_gradients
from casvit_mm.registration import registered_in

STRIDES = (4, 8, 16, 32)
# Arguments of timm.create_model that this class sets, or that would read files or download.
RESERVED = frozenset(
    [
        'cache_dir',
        'checkpoint_path',
        'drop_path_rate',
        'features_only',
        'in_chans',
        'model_name',
        'out_indices',
        'pretrained',
        'pretrained_cfg',
        'pretrained_cfg_overlay',
    ]
)
# No multiples of the windows that backbones have, and no squares; not even of their patches.
OTHER_SIZE, ODD_SIZE = (64, 96), (70, 90)


@registered_in(MODELS)
class TimmPyramid(Backbone):
    """A model of timm with the features and the arguments of :class:`CASViT`.

    Its features of strides 4, 8, 16 and 32 are detected automatically. Nothing is downloaded: its
    weights are random, or those of a local file.

    Args:
        name (str): Its name in timm, such as 'resnet50' or 'pvt_v2_b1'.
        in_channels (int): Channels of the input image. Defaults to 3.
        out_indices (Sequence[int]): Features to output, ascending: 0 to 3 for the strides 4, 8,
            16, 32. Of features with the same stride, the last one is taken. Defaults to
            (0, 1, 2, 3).
        drop_path_rate (float): Drop path rate, of models that have one. Defaults to 0.
        frozen_stages (int): Stages whose parameters and statistics are frozen: -1 none, 0 whatever
            comes before the first stage, n the first n stages and all before. Defaults to -1.
        norm_eval (bool): Keep every batch norm in eval mode while training, as for CASViT.
            Defaults to True.
        with_cp (bool): Activation checkpointing, as timm does it: statistics of batch norms that
            are trained move twice in a step. Defaults to False.
        options (dict, optional): Other arguments for ``timm.create_model``.
        init_cfg (dict | list[dict], optional): Initialisation. With ``dict(type='Pretrained',
            checkpoint=FILE)``, FILE holds the weights as timm publishes them (``.pth`` or
            ``.safetensors``), or is a checkpoint of a model with this backbone; it is read by
            :mod:`casvit_mm.models.checkpoint`.

    Attributes:
        out_channels (tuple[int, ...]): Channels of its features.

    Shape: ``(B, in_channels, H, W)`` -> tuple of ``(B, out_channels[i], H/s, W/s)``, where s = 4,
    8, 16, 32 for the features of ``out_indices``. H and W are arbitrary; H/s and W/s are rounded
    up or down, as the model does it.

    Raises:
        ValueError: timm has no such model, its features have other strides, it takes images of one
            size only, or an argument has a value that is not allowed.
        MissingPackageError: timm is not installed.
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
        options = dict(options or {})
        if refused := sorted(RESERVED & set(options)):
            raise ValueError(
                f'options={options!r}: {refused[0]} is set by the other arguments of TimmPyramid, '
                'and weights come from init_cfg'
            )
        if in_channels != 3:
            options['in_chans'] = in_channels
        if drop_path_rate > 0:
            options['drop_path_rate'] = drop_path_rate
        self.name = name
        self.in_channels = in_channels
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        info = _create(name, options).feature_info
        levels = _levels(name, info)
        self.network, self.pads = _of_any_size(
            name, in_channels, {**options, 'out_indices': [levels[i] for i in out_indices]}
        )
        self.out_channels = tuple(info.get('num_chs', [levels[i] for i in out_indices]))
        self.channels_last = 'NHWC' in str(getattr(self.network, 'output_fmt', ''))
        self.stage_modules = tuple(info.get('module', levels))
        if with_cp:
            _recompute(name, self.network)
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the features of ``out_indices``."""
        if self.pads:
            height, width = x.shape[2:]
            x = functional.pad(x, (0, -width % STRIDES[0], 0, -height % STRIDES[0]))
        features = self.network(x)
        if self.channels_last:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return join_gradients(features)

    def _keeps_statistics(self) -> bool:
        return self.norm_eval and any(map(is_batch_norm, self.modules()))

    def adapt_state_dict(self, state_dict: dict[str, Tensor], prefix: str = '') -> list[str]:
        """Rewrites the keys of a file of timm in place to those of this backbone.

        Args:
            state_dict: Weights, changed in place; keys that do not start with ``prefix`` stay.
            prefix: Where this backbone stands in ``state_dict``, e.g. ``'backbone.'``.

        Returns:
            Sentences that say what was changed or left out.
        """
        expected = self.state_dict().keys()
        for key in [key for key in state_dict if key.startswith(prefix)]:
            inside = key.removeprefix(prefix)
            own = [f'network.{each}' for each in _within_features(inside)]
            found = [each for each in (inside, *own) if each in expected]
            if found and found[0] != inside:
                state_dict[prefix + found[0]] = state_dict.pop(key)
        return []

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        modules = list(self.network.named_modules())
        names = [name for name, _ in modules]
        if self.frozen_stages == 0:
            stop = _position(names, self.stage_modules[0])
        else:
            last = _position(names, self.stage_modules[self.frozen_stages - 1])
            stop = last + _count(modules[last][1]) if last < len(names) else last
        # In the order of their computation; the first one is the whole network.
        for place, (_, module) in enumerate(modules):
            if place and place + _count(module) <= stop:
                module.eval()
                module.requires_grad_(False)


def require_timm() -> Any:
    """Imports timm.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        return importlib.import_module('timm')
    except ImportError as error:
        raise MissingPackageError(
            'Peer backbones are built by timm, which is not installed: '
            "pip install 'casvit-mm[bench]'."
        ) from error


def _create(name: str, options: Mapping[str, Any]) -> Any:
    """A model of timm that outputs features, with random weights."""
    timm = require_timm()
    # Other names would be looked up on a hub.
    if not isinstance(name, str) or not timm.is_model(name):
        near = difflib.get_close_matches(str(name), timm.list_models(), n=3)
        raise ValueError(
            f'name={name!r}: timm {timm.__version__} has no such model'
            + (f'; did you mean {" or ".join(map(repr, near))}?' if near else '')
        )
    try:
        return timm.create_model(name, features_only=True, pretrained=False, **options)
    # Whatever a model of timm raises for an argument that it does not have.
    except Exception as error:
        given = {key: value for key, value in options.items() if key != 'out_indices'}
        arguments = f' with {given}' if given else ''
        raise ValueError(
            f'timm cannot build {name!r} as a backbone{arguments}: {first_line(error)}'
        ) from error


def _levels(name: str, info: Any) -> list[int]:
    """The indices of the features of strides 4, 8, 16 and 32 in timm."""
    strides = dict(zip(info.reduction(), info.out_indices, strict=True))
    if missing := [stride for stride in STRIDES if stride not in strides]:
        raise ValueError(
            f'{name!r} has no features of stride {", ".join(map(str, missing))} (its strides are '
            f'{", ".join(map(str, strides))}): necks and heads need those of 4, 8, 16 and 32'
        )
    return [strides[stride] for stride in STRIDES]


def _of_any_size(name: str, in_channels: int, options: Mapping[str, Any]) -> tuple[Any, bool]:
    """The model, built for images of any size, and whether they have to be padded to its patches.

    timm lists models as of fixed size that take others too, some of them if they are asked to.
    """
    network = _create(name, options)
    # timm has no record of models without weights.
    if not getattr(require_timm().get_pretrained_cfg(name), 'fixed_input_size', False):
        return network, False
    if not _takes(network, in_channels, OTHER_SIZE):
        try:
            network = _create(name, {**options, 'strict_img_size': False})
        except ValueError:
            network = None
        if network is None or not _takes(network, in_channels, OTHER_SIZE):
            raise ValueError(
                f'{name!r} takes images of one size only, but those of detectors and segmentors '
                'have many: choose another model'
            )
    return network, not _takes(network, in_channels, ODD_SIZE)


def _takes(network: nn.Module, in_channels: int, size: tuple[int, int]) -> bool:
    """Whether a model computes features of images of a size."""
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, in_channels, *size))
    # An assertion, or shapes that do not match.
    except Exception:
        return False
    finally:
        network.train()
    return True


def _recompute(name: str, network: Any) -> None:
    try:
        network.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise ValueError(
            f'with_cp=True: timm cannot recompute the activations of {name!r}; leave it out'
        ) from error


def _within_features(name: str) -> tuple[str, ...]:
    """Names that a module or weight of a model may have in timm's networks of features."""
    return name, name.replace('.', '_', 1), f'model.{name}'


def _position(names: list[str], module: str) -> int:
    """Where a module is in the list of all; behind the end if it is left out of the network."""
    return next(
        (names.index(each) for each in _within_features(module) if each in names), len(names)
    )


def _count(module: nn.Module) -> int:
    return sum(1 for _ in module.modules())
