"""Checks that the channels of the backbone match those of the neck and the heads.

A model whose parts have different sizes is built without an error and fails deep inside its first
forward pass. This check reports it before anything runs, with the options that fix it. It covers
configs whose backbone is a CAS-ViT, and known necks and heads; anything else is not checked.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from casvit.errors import CheckpointError, CliError
from casvit.tables import ARCHITECTURES
from casvit.weights.find import SCHEME
from casvit_mm.config.input_channels import Mismatch, compare_input
from casvit_mm.config.view import type_name
from casvit_mm.models.arguments import check_arguments, resolve_arch
from casvit_mm.models.checkpoint.init_cfg import pretrained_files
from casvit_mm.registration import registered_class

# By the names of their classes or base classes. Some use one feature for each of their in_channels,
# others only the last feature.
NECKS_OF_ALL = frozenset(
    [
        'FPN',
        'PAFPN',
        'NASFPN',
        'NASFCOS_FPN',
        'FPN_CARAFE',
        'HRFPN',
        'FPG',
        'ChannelMapper',
        'CSPNeXtPAFPN',
        'YOLOXPAFPN',
        'MultiLevelNeck',
        'MLANeck',
    ]
)
HEADS_OF_ALL = frozenset(('MaskFormerHead',))
NECKS_OF_LAST = frozenset(('DilatedEncoder', 'CTResNetNeck'))
POOLING = frozenset(('GlobalAveragePooling', 'GeneralizedMeanPooling'))
DENSE_HEADS = frozenset(('AnchorHead', 'AnchorFreeHead'))
DECODE_HEADS = frozenset(('BaseDecodeHead',))
CLASSIFIER_HEADS = frozenset(
    ('LinearClsHead', 'MultiLabelLinearClsHead', 'StackedLinearClsHead', 'ArcFaceClsHead')
)
PREPROCESSORS = frozenset(('ImgDataPreprocessor', 'SegDataPreProcessor', 'ClsDataPreprocessor'))
SIZE_IN_NAME = re.compile(rf'(cas-?vit[-_])({"|".join(ARCHITECTURES)})(?![a-z0-9])', re.IGNORECASE)
# Values that need no quotes for a shell and mmengine's option parser.
PLAIN = re.compile(r'[\w./~+:-]+')


@dataclass(frozen=True)
class Backbone:
    """The CAS-ViT backbone of a config.

    Attributes:
        arch: Its size, a name or a dict.
        channels: Channels of each of the four stages.
        stages: Stages that it outputs.
        in_channels: Channels of its input.
    """

    arch: Any
    channels: tuple[int, ...]
    stages: tuple[int, ...]
    in_channels: int

    @property
    def features(self) -> list[int]:
        """Channels of its features."""
        return [self.channels[stage] for stage in self.stages]


def require_matching_channels(cfg: Config) -> None:
    """Stops if the features of the backbone do not match the neck or the heads.

    Args:
        cfg: The config.

    Raises:
        CliError: Parts do not match; the message names them and the options to add.
    """
    found = _mismatch(cfg)
    if not found.facts:
        return
    text = ' '.join(f'{key}={_value(value)}' for key, value in found.options.items())
    raise CliError(
        f'The parts of the model of {cfg.filename} do not fit together: {"; ".join(found.facts)}. '
        f'To make them fit, add --cfg-options {text}'
    )


def options_that_fit(cfg: Config) -> dict[str, Any]:
    """The options that make neck, heads and pretrained weights fit the backbone of a config.

    Args:
        cfg: The config.

    Returns:
        Values by their config keys; empty if everything fits already.
    """
    return _mismatch(cfg).options


def _mismatch(cfg: Config) -> Mismatch:
    model, scope, found = cfg.get('model'), cfg.get('default_scope'), Mismatch()
    backbone = _backbone(model.get('backbone')) if isinstance(model, Mapping) else None
    if backbone is None:
        return found
    preprocessor = model.get('data_preprocessor')
    if isinstance(preprocessor, Mapping) and _is_one_of(preprocessor, PREPROCESSORS, scope):
        compare_input(cfg, preprocessor, backbone.in_channels, found)
    _compare_features(model, backbone, scope, found)
    named = {'model.backbone.arch': backbone.arch} if isinstance(backbone.arch, str) else {}
    found.options = named | found.options | _other_weights(model, backbone)
    return found


def _backbone(part: Any) -> Backbone | None:
    if not isinstance(part, Mapping) or type_name(part) != 'CASViT':
        return None
    arch, stages = part.get('arch', 'm'), part.get('out_indices', (0, 1, 2, 3))
    in_channels = part.get('in_channels', 3)
    try:
        channels = resolve_arch(arch)[1]
        check_arguments(in_channels, stages, 0.0, -1)
    except (ValueError, TypeError, KeyError):
        # The backbone itself reports invalid arguments.
        return None
    return Backbone(arch, channels, tuple(stages), in_channels)


def _compare_features(
    model: Mapping, backbone: Backbone, scope: str | None, found: Mismatch
) -> None:
    neck = model.get('neck')
    key = 'model.neck'
    if isinstance(neck, (list, tuple)) and neck:
        neck, key = neck[0], 'model.neck.0'
    if isinstance(neck, Mapping) and neck.get('type') is not None:
        if _is_one_of(neck, NECKS_OF_ALL, scope):
            _compare_levels(neck, key, backbone, found)
        elif _is_one_of(neck, NECKS_OF_LAST, scope):
            _compare_number(neck, key, backbone.features[-1], backbone, found)
        elif _is_one_of(neck, POOLING, scope):
            _compare_classifier(model, backbone, scope, found)
        return
    if neck:
        return
    _compare_classifier(model, backbone, scope, found)
    for name in ('bbox_head', 'rpn_head'):
        head = model.get(name)
        alone = len(backbone.features) == 1
        if alone and isinstance(head, Mapping) and _is_one_of(head, DENSE_HEADS, scope):
            _compare_number(head, f'model.{name}', backbone.features[0], backbone, found)
    heads = []
    for key, head in (('model.panoptic_head', model.get('panoptic_head')), *_decode_heads(model)):
        if not isinstance(head, Mapping):
            continue
        if _is_one_of(head, HEADS_OF_ALL, scope):
            _compare_levels(head, key, backbone, found)
        elif _is_one_of(head, DECODE_HEADS, scope) and _reads(head):
            heads.append((key, head))
    reach = [index for _, head in heads for index in _indices(head)]
    if any(not -len(backbone.stages) <= index < len(backbone.stages) for index in reach):
        found.facts.append(
            f'heads read features {sorted(set(reach))}, but the backbone gives '
            f'{len(backbone.stages)} (model.backbone.out_indices is {list(backbone.stages)})'
        )
        backbone = Backbone(backbone.arch, backbone.channels, (0, 1, 2, 3), backbone.in_channels)
        found.options['model.backbone.out_indices'] = [0, 1, 2, 3]
    for key, head in heads:
        if all(-len(backbone.stages) <= index < len(backbone.stages) for index in _indices(head)):
            _compare_decode_head(head, key, backbone, found)


def _compare_levels(neck: Mapping, key: str, backbone: Backbone, found: Mismatch) -> None:
    """Compares a neck or head that uses one feature for each of its in_channels."""
    have = _whole_numbers(neck.get('in_channels'))
    if have is None:
        return
    want = backbone.features
    start, end = neck.get('start_level', 0), neck.get('end_level', -1)
    if not isinstance(start, int) or not isinstance(end, int):
        return
    # Levels below start_level are passed in, but not used.
    used = slice(start, None if end == -1 else end + 1)
    if len(have) == len(want) and have[used] == want[used]:
        return
    found.facts.append(_features_of(backbone) + f'{key}.in_channels is {have}')
    if len(have) != len(want) and (stages := _stages_of(have, backbone)):
        # Heads rely on the strides of the same number of levels.
        found.options['model.backbone.out_indices'] = list(stages)
        want = [backbone.channels[stage] for stage in stages]
    if have[used] != want[used] or len(have) != len(want):
        found.options[f'{key}.in_channels'] = want


def _stages_of(channels: list[int], backbone: Backbone) -> tuple[int, ...] | None:
    """The stages with these channels in this size, or else in another size."""
    for known in (backbone.channels, *(size.channels for size in ARCHITECTURES.values())):
        for stages in combinations(range(4), len(channels)):
            if [known[stage] for stage in stages] == channels:
                return stages
    return None


def _compare_number(
    part: Mapping,
    key: str,
    want: int,
    backbone: Backbone,
    found: Mismatch,
    name: str = 'in_channels',
) -> None:
    """Compares a part that uses one feature."""
    have = part.get(name)
    if isinstance(have, int) and have != want:
        found.facts.append(_features_of(backbone) + f'{key}.{name} is {have}')
        found.options[f'{key}.{name}'] = want


def _compare_classifier(
    model: Mapping, backbone: Backbone, scope: str | None, found: Mismatch
) -> None:
    head = model.get('head')
    if isinstance(head, Mapping) and _is_one_of(head, CLASSIFIER_HEADS, scope):
        _compare_number(head, 'model.head', backbone.features[-1], backbone, found)


def _compare_decode_head(head: Mapping, key: str, backbone: Backbone, found: Mismatch) -> None:
    features, have = backbone.features, head['in_channels']
    # DeepLabV3+ adds the first feature to that of in_channels; 0 leaves it out.
    if head.get('c1_in_channels'):
        _compare_number(head, key, features[0], backbone, found, 'c1_in_channels')
    if isinstance(have, int):
        _compare_number(head, key, features[_indices(head)[0]], backbone, found)
        return
    want = [features[index] for index in _indices(head)]
    if list(have) != want:
        found.facts.append(_features_of(backbone) + f'{key}.in_channels is {list(have)}')
        found.options[f'{key}.in_channels'] = want


def _decode_heads(model: Mapping) -> Iterator[tuple[str, Mapping]]:
    for name in ('decode_head', 'auxiliary_head'):
        part = model.get(name)
        heads: list[tuple[str, Any]] = [(f'model.{name}', part)]
        if isinstance(part, (list, tuple)):
            heads = [(f'model.{name}.{index}', head) for index, head in enumerate(part)]
        for key, head in heads:
            if isinstance(head, Mapping):
                yield key, head
                # K-Net refines the masks of a head inside its own.
                if isinstance(inner := head.get('kernel_generate_head'), Mapping):
                    yield f'{key}.kernel_generate_head', inner


def _reads(head: Mapping) -> bool:
    """Whether the features that a decode head uses can be determined."""
    channels, index = head.get('in_channels'), head.get('in_index', -1)
    if isinstance(channels, int):
        return isinstance(index, int)
    channels, indices = _whole_numbers(channels), _whole_numbers(index)
    return channels is not None and indices is not None and len(channels) == len(indices)


def _indices(head: Mapping) -> list[int]:
    index = head.get('in_index', -1)
    return [index] if isinstance(index, int) else list(index)


def _whole_numbers(value: Any) -> list[int] | None:
    if isinstance(value, (list, tuple)) and all(isinstance(each, int) for each in value):
        return list(value)
    return None


def _features_of(backbone: Backbone) -> str:
    size = f'arch={backbone.arch}' if isinstance(backbone.arch, str) else 'its own arch'
    return (
        f'the backbone ({size}, out_indices={list(backbone.stages)}) outputs features with '
        f'{backbone.features} channels, but '
    )


def _other_weights(model: Mapping, backbone: Backbone) -> dict[str, Any]:
    """Options for pretrained weights whose file name says that they are of another size."""
    options: dict[str, Any] = {}
    for part, key in ((model['backbone'], 'model.backbone'), (model, 'model')):
        try:
            files = list(pretrained_files(part.get('init_cfg'), f'{key}.init_cfg'))
        except CheckpointError:
            continue
        for file, option in files:
            folder, slash, basename = file.rpartition('/')
            name = SIZE_IN_NAME.search(basename)
            if not name or name[2].lower() == backbone.arch:
                continue
            named = isinstance(backbone.arch, str)
            published = ARCHITECTURES[backbone.arch].checkpoint if named else None
            if published:
                file_name = f'{published.removeprefix(SCHEME)}.pth'
                other = published if file.startswith(SCHEME) else f'{folder}{slash}{file_name}'
                if PLAIN.fullmatch(other):
                    options[option] = other
            else:
                options[f'{key}.init_cfg'] = None
                options['model.backbone.norm_eval'] = False
    return options


def _value(value: Any) -> str:
    """A value in the syntax of mmengine's options, quoted for a shell."""
    if isinstance(value, list):
        return f'"[{",".join(map(str, value))}]"'
    return str(value)


def _is_one_of(part: Mapping, names: frozenset[str], scope: str | None) -> bool:
    """Whether the class of a part, or one of its base classes, has one of the given names."""
    kind = part.get('type')
    if isinstance(kind, str):
        try:
            with MODELS.switch_scope_and_registry(scope) as registry:
                kind = registered_class(registry, kind)
        # An import may raise any error; building the model will report it.
        except Exception:
            kind = None
    known = {type_name(part), *(base.__name__ for base in getattr(kind, '__mro__', ()))}
    return not names.isdisjoint(known)
