"""Starting from a checkpoint: what ``init_cfg`` of type Pretrained means for CAS-ViT."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from torch import Tensor, nn

from casvit.errors import CheckpointError
from casvit.sentences import some
from casvit_mm.models.checkpoint.load import (
    NATIVE_CLASSIFIER,
    LoadReport,
    load_into,
    match_weights,
)
from casvit_mm.models.checkpoint.read import read_checkpoint

PUBLISHED_CLASSIFIER = re.compile(r'(norm|head|dist_head)\.')


def split_pretrained(init_cfg: Any) -> tuple[list[dict], list[dict] | None]:
    """Parts an ``init_cfg`` into those of type Pretrained, and the others as mmengine takes them.

    Args:
        init_cfg: One dict, several, or None.

    Returns:
        The configs that name a file; the others, None where there are none.

    Raises:
        CheckpointError: It is neither, or one of type Pretrained names no file.
    """
    configs = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    if not isinstance(configs, (list, tuple)) or not all(isinstance(c, Mapping) for c in configs):
        raise CheckpointError(f'init_cfg={init_cfg!r}: expected a dict, or a list of dicts.')
    pretrained = [cfg for cfg in configs if _is_pretrained(cfg)]
    for cfg in pretrained:
        if not isinstance(cfg.get('checkpoint'), (str, Path)) or not str(cfg['checkpoint']):
            raise CheckpointError(
                f"init_cfg={dict(cfg)!r} names no file: expected dict(type='Pretrained', "
                'checkpoint=FILE).'
            )
        if cfg.get('weights', 'model') not in ('model', 'ema'):
            raise CheckpointError(f"init_cfg={dict(cfg)!r}: weights may be 'model' or 'ema'.")
    return pretrained, [cfg for cfg in configs if not _is_pretrained(cfg)] or None


def _is_pretrained(cfg: Mapping) -> bool:
    """Whether a config of an initialisation is of type Pretrained, by its name or its class."""
    kind = cfg.get('type')
    return kind is PretrainedInit or str(kind).rsplit('.', 1)[-1] in (
        'Pretrained',
        'PretrainedInit',
    )


def pretrained_files(init_cfg: Any, option: str) -> Iterator[tuple[str, str]]:
    """The files that an ``init_cfg`` names.

    Args:
        init_cfg: One dict, several, or None.
        option: Where the config has it, such as ``'model.backbone.init_cfg'``.

    Yields:
        Each file, and the option that names another one in its place.

    Raises:
        CheckpointError: As :func:`split_pretrained`, with the option.
    """
    try:
        pretrained, _ = split_pretrained(init_cfg)
    except CheckpointError as error:
        raise CheckpointError(f'In {option.removesuffix(".init_cfg")}: {error}') from error
    several = not isinstance(init_cfg, Mapping)
    for index, cfg in enumerate(init_cfg if several else [init_cfg]) if pretrained else ():
        if _is_pretrained(cfg):
            place = f'{option}.{index}' if several else option
            yield str(cfg['checkpoint']), f'{place}.checkpoint'


def require_pretrained(
    path: str | Path, option: str = 'model.backbone.init_cfg.checkpoint'
) -> None:
    """Stops early where a file to start from is not there; addresses (``://``) are not looked at.

    Args:
        path: The file.
        option: Where the config names it.

    Raises:
        CheckpointError: There is no such file; says where the authors publish theirs.
    """
    if '://' in str(path) or Path(path).expanduser().is_file():
        return
    part = 'backbone' if 'backbone' in option else 'classifier'
    raise CheckpointError(
        f'The pretrained {part} {path} does not exist. The authors publish the ImageNet files '
        '(cas-vit-xs.pth, -s, -m, -t) in the model zoo of '
        'https://github.com/Tianfang-Zhang/CAS-ViT: put the file there as it is, name another one '
        f'with --cfg-options {option}=FILE, or train without it by --from-scratch.'
    )


def refuse_fused(state_dict: Mapping[str, Tensor], prefix: str) -> None:
    """Stops before the weights of a fused model reach a backbone that is not fused.

    OpenMMLab's own loaders know no structures: they would leave out what does not fit, which is
    most of the backbone, and go on.

    Args:
        state_dict: What is about to be loaded.
        prefix: Where the backbone stands in it.

    Raises:
        CheckpointError: The second layer of the stem, a norm unless fused, is a convolution.
    """
    second = state_dict.get(f'{prefix}stem.1.weight')
    if second is not None and second.ndim == 4:
        raise CheckpointError(
            'These are the weights of a fused model, which only this package can load: build the '
            'model without a checkpoint (init_detector(config, None), say), then '
            'casvit_mm.models.load_into(model, casvit_mm.models.read_checkpoint(FILE), '
            'strict=True).'
        )


def load_pretrained_backbone(
    backbone: nn.Module, path: str | Path, prefix: str | None = None, weights: str = 'model'
) -> LoadReport:
    """Loads a pretrained file into a dense-prediction backbone (``init_cfg`` of type Pretrained).

    Files of classifiers serve as they are, published ones and those trained with this package:
    their head and the norm before it are left out, and the output norms, which they lack, start as
    identities. Files of whole detectors or segmentors give their backbone.

    Args:
        backbone: The :class:`CASViT` to fill.
        path: The file.
        prefix: Where the backbone stands in the file; detected automatically if None.
        weights: Which weights of the file, as for :func:`read_checkpoint`.

    Returns:
        What did not match.

    Raises:
        CheckpointError: The file is missing or unreadable, or the backbone would be half loaded.
    """
    require_pretrained(path)
    content = read_checkpoint(path, weights=weights)['state_dict']
    if prefix is None:
        prefix = 'backbone.' if any(key.startswith('backbone.') for key in content) else ''
    elif prefix and not prefix.endswith('.'):
        prefix += '.'
    parts, left_out = _without_classifier(content, prefix)
    report, fitting = match_weights(backbone, parts)
    said = [f'{len(fitting)} tensors loaded', *report.notes]
    if left_out:
        said.append(f'left out the classifier ({", ".join(left_out)})')
    has_norms = any(key.startswith('out_norms.') for key in [*fitting, *report.unexpected])
    if left_out or not has_norms:
        new = [key for key in report.missing if key.startswith('out_norms.')]
        report.missing = [key for key in report.missing if key not in new]
        if new:
            names = sorted({key.rsplit('.', 1)[0] for key in new})
            said.append(f'output norms newly made ({", ".join(names)})')
    if report.missing or report.mismatched or not fitting:
        raise CheckpointError(
            f'{path} does not fit the backbone: {report.describe() or "it holds none of its keys"}.'
        )
    backbone.load_state_dict(fitting, strict=False)
    if report.unexpected:
        said.append(f'unexpected {some(report.unexpected, quoted=False)}')
    print_log(f'Backbone from {path}: {"; ".join(said)}.', logger='current')
    return report


def load_pretrained_classifier(
    classifier: nn.Module, path: str | Path, weights: str = 'model'
) -> LoadReport:
    """Loads a pretrained file into a classifier (``init_cfg`` of type Pretrained).

    Args:
        classifier: The :class:`CASViTClassifier` to fill; its head may be of other classes.
        path: The file.
        weights: Which weights of the file, as for :func:`read_checkpoint`.

    Returns:
        What did not match.

    Raises:
        CheckpointError: The file is missing or unreadable, or the backbone would be half loaded.
    """
    require_pretrained(path, 'model.init_cfg.checkpoint')
    return load_into(
        classifier, read_checkpoint(path, weights=weights), strict=False, source=str(path)
    )


def _without_classifier(
    weights: dict[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], list[str]]:
    """What stands behind ``prefix`` less the parts of a classifier, and the names of those."""
    inside = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    left_out = {match[1] for key in inside if (match := PUBLISHED_CLASSIFIER.match(key))}
    inside = {key: v for key, v in inside.items() if not PUBLISHED_CLASSIFIER.match(key)}
    if prefix and any(map(NATIVE_CLASSIFIER.match, weights)):
        # The norm before a classifier's pooling is no output norm of a detector.
        left_out |= {'head'} | {'.'.join(k.split('.')[:2]) for k in inside if 'out_norms.' in k}
        inside = {key: v for key, v in inside.items() if not key.startswith('out_norms.')}
    return inside, sorted(left_out)
