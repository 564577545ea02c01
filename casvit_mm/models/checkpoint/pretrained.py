"""Pretrained weights: how ``init_cfg`` of type Pretrained works for CAS-ViT."""

import re
from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from mmengine.runner import checkpoint as loaders
from torch import Tensor, nn

from casvit.errors import CheckpointError
from casvit.sentences import some
from casvit.weights.find import absent, find_weights, named_weights
from casvit_mm.models.checkpoint.load import (
    NATIVE_CLASSIFIER,
    LoadReport,
    load_into,
    match_weights,
)
from casvit_mm.models.checkpoint.read import read_checkpoint
from casvit_mm.registration import register_scheme

register_scheme(loaders)

PUBLISHED_CLASSIFIER = re.compile(r'(norm|head|dist_head)\.')


def require_pretrained(
    path: str | Path, option: str = 'model.backbone.init_cfg.checkpoint'
) -> None:
    """Stops early if a pretrained file does not exist; URLs of other machines are not checked.

    Args:
        path: The file.
        option: The config option that names it.

    Raises:
        CheckpointError: The file does not exist; the message tells how to get it.
    """
    weights = named_weights(path)
    if weights is not None:
        if find_weights(weights) is not None:
            return
        reason = absent(weights)
    elif '://' in str(path) or Path(path).expanduser().is_file():
        return
    else:
        part = 'backbone' if 'backbone' in option else 'classifier'
        reason = (
            f'The pretrained {part} {path} does not exist. `casvit weights` lists the files that '
            'the authors publish, and downloads them.'
        )
    raise CheckpointError(
        f'{reason} To use other weights, add --cfg-options {option}=FILE; to train without any, '
        'add --from-scratch.'
    )


def refuse_fused(state_dict: Mapping[str, Tensor], prefix: str) -> None:
    """Refuses to load the weights of a fused model into a backbone that is not fused.

    OpenMMLab's own loaders do not check the structure: they would skip the weights that do not
    fit, which is most of the backbone, and carry on.

    Args:
        state_dict: The weights to be loaded.
        prefix: Prefix of the backbone's keys.

    Raises:
        CheckpointError: The second layer of the stem is a convolution: a norm if not fused.
    """
    second = state_dict.get(f'{prefix}stem.1.weight')
    if second is not None and second.ndim == 4:
        raise CheckpointError(
            'These are the weights of a fused model, which only this package can load: build the '
            'model without a checkpoint (such as init_detector(config, None)), then call '
            'casvit_mm.models.load_into(model, casvit_mm.models.read_checkpoint(FILE), '
            'strict=True).'
        )


def load_pretrained_backbone(
    backbone: nn.Module, path: str | Path, prefix: str | None = None, weights: str = 'model'
) -> LoadReport:
    """Loads pretrained weights into a dense-prediction backbone (``init_cfg`` of type Pretrained).

    Classifier checkpoints can be used as they are, both published ones and those trained with this
    package: their head and the norm before it are left out, and the output norms, which they lack,
    start as identities. From a detector or segmentor checkpoint only the backbone is loaded.

    Args:
        backbone: The :class:`CASViT` to fill.
        path: The file.
        prefix: Prefix of the backbone's keys in the file; detected automatically if None.
        weights: Which weights of the file to use, as for :func:`read_checkpoint`.

    Returns:
        The mismatches.

    Raises:
        CheckpointError: The file is missing or unreadable, or only part of the backbone would be
            loaded.
    """
    require_pretrained(path)
    content = read_checkpoint(path, weights=weights)['state_dict']
    if prefix is None:
        prefix = 'backbone.' if any(key.startswith('backbone.') for key in content) else ''
    elif prefix and not prefix.endswith('.'):
        prefix += '.'
    parts, left_out = _without_classifier(content, prefix)
    report, fitting = match_weights(backbone, parts)
    notes = [f'{len(fitting)} tensors loaded', *report.notes]
    if left_out:
        notes.append(f'left out the classifier ({", ".join(left_out)})')
    has_norms = any(key.startswith('out_norms.') for key in [*fitting, *report.unexpected])
    if left_out or not has_norms:
        new = [key for key in report.missing if key.startswith('out_norms.')]
        report.missing = [key for key in report.missing if key not in new]
        if new:
            names = sorted({key.rsplit('.', 1)[0] for key in new})
            notes.append(f'output norms newly initialised ({", ".join(names)})')
    if report.missing or report.mismatched or not fitting:
        raise CheckpointError(
            f'{path} does not fit the backbone: {report.describe() or "none of its keys match"}.'
        )
    backbone.load_state_dict(fitting, strict=False)
    if report.unexpected:
        notes.append(f'unexpected {some(report.unexpected, quoted=False)}')
    print_log(f'Backbone from {path}: {"; ".join(notes)}.', logger='current')
    return report


def load_pretrained_classifier(
    classifier: nn.Module, path: str | Path, weights: str = 'model'
) -> LoadReport:
    """Loads pretrained weights into a classifier (``init_cfg`` of type Pretrained).

    Args:
        classifier: The :class:`CASViTClassifier` to fill; its head may have other classes.
        path: The file.
        weights: Which weights of the file to use, as for :func:`read_checkpoint`.

    Returns:
        The mismatches.

    Raises:
        CheckpointError: The file is missing or unreadable, or only part of the backbone would be
            loaded.
    """
    require_pretrained(path, 'model.init_cfg.checkpoint')
    return load_into(
        classifier, read_checkpoint(path, weights=weights), strict=False, source=str(path)
    )


def _without_classifier(
    weights: dict[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Weights under ``prefix`` without those of a classifier's head, and the names left out."""
    inside = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    left_out = {match[1] for key in inside if (match := PUBLISHED_CLASSIFIER.match(key))}
    inside = {key: v for key, v in inside.items() if not PUBLISHED_CLASSIFIER.match(key)}
    if prefix and any(map(NATIVE_CLASSIFIER.match, weights)):
        # The norm before a classifier's pooling is not an output norm of a detector.
        left_out |= {'head'} | {'.'.join(k.split('.')[:2]) for k in inside if 'out_norms.' in k}
        inside = {key: v for key, v in inside.items() if not key.startswith('out_norms.')}
    return inside, sorted(left_out)
