"""The one reader of weight files: published CAS-ViT files, OpenMMLab's, and ``.safetensors``.

A checkpoint is a dict with ``state_dict`` and whatever else the file holds (``meta``,
``optimizer``, …). Published files keep the key names of the published code; a :class:`CASViT`
translates them itself before any ``load_state_dict``, wherever it stands in a model and whoever
loads (mmdet's inferencers, say).

Files are unpickled by an allow-list: they can name tensors, arrays and plain records, nothing else.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmengine.registry import Registry
from safetensors import safe_open
from torch import Tensor, nn

from casvit.errors import UserError
from casvit_mm.models.checkpoint_meta import usable_meta
from casvit_mm.models.published_layout import guess_size
from casvit_mm.models.unpickling import ALLOW_LIST, ForbiddenGlobalError
from casvit_mm.models.wrappers import unwrap

NATIVE_CLASSIFIER = re.compile(r'head\.(fc|dist_fc)\.')
STRUCTURES = Registry('structure of weights', locations=['casvit_mm.deploy.fusion'])
"""Functions that rebuild a model in place for weights of another structure, by its name in the
meta of their file. The modules that register them are imported when a file names one."""
AVERAGES = ('model_ema', 'state_dict_ema')
# What torch.compile puts into keys, at any depth, with the prefix of DistributedDataParallel on
# either side of it.
WRAPPERS = re.compile(r'^(?:module\.)+|(?:^|(?<=\.))(?:module\.)*(?:_orig_mod\.)+(?:module\.)*')


class CheckpointError(UserError, RuntimeError):
    """A weight file is missing, unreadable, or does not fit; the message says what to do."""


def read_checkpoint(
    path: str | Path, map_location: Any = 'cpu', weights: str = 'model'
) -> dict[str, Any]:
    """Reads a weight file of any layout in use.

    Args:
        path: A file, or any address that mmengine's file backends open. ``.safetensors`` is read
            as such; anything else is a ``torch.save`` file: ``{'state_dict': …}`` (OpenMMLab),
            ``{'model': …}`` (published ImageNet files), or the bare weights.
        map_location: Where tensors go, as in ``torch.load``.
        weights: Which weights, where a file has two sets: ``'model'``, those it is meant to be
            used with, or ``'ema'``, their exponential moving average (``model_ema`` of a published
            ImageNet file; a run with OpenMMLab's EMAHook has it under ``state_dict`` anyway).

    Returns:
        The file's records, with the weights under ``state_dict`` (without the ``module.`` of
        DistributedDataParallel and the ``_orig_mod.`` of torch.compile in their keys). Values of
        ``meta`` that are not of the expected type are left out, and the log says so.

    Raises:
        CheckpointError: There is no such file, it is not a checkpoint, it lacks the weights that
            were asked for, or it holds objects that a checkpoint has no use for.
        ValueError: ``weights`` is neither of the two.
    """
    if weights not in ('model', 'ema'):
        raise ValueError(f"weights={weights!r}: expected 'model' or 'ema'")
    path = str(path)
    require_checkpoint(path)
    try:
        with get_local_path(Path(path).expanduser() if '://' not in path else path) as local:
            content = _read_file(Path(local), path, map_location)
    except OSError as error:
        raise CheckpointError(
            f'The checkpoint {path} cannot be opened: {error.strerror or error}.'
        ) from error
    checkpoint = _with_state_dict(content, path, weights)
    checkpoint['state_dict'] = _without_wrappers(checkpoint['state_dict'], path)
    if 'meta' in checkpoint:
        _structure(checkpoint, f'The file {path}')
        checkpoint['meta'], notes = usable_meta(checkpoint['meta'])
        for note in notes:
            print_log(f'{path}: {note}.', logger='current', level=logging.WARNING)
    return checkpoint


def require_checkpoint(path: str | Path) -> None:
    """Stops early where a weight file is not there; addresses with ``://`` are not looked at.

    Raises:
        CheckpointError: There is no such file.
    """
    local = Path(path).expanduser()
    if '://' not in str(path) and not local.is_file():
        what = 'is a folder, not a file' if local.is_dir() else 'does not exist'
        raise CheckpointError(f'The checkpoint {path} {what}.')


def _read_file(local: Path, name: str, map_location: Any) -> Any:
    if local.suffix == '.safetensors':
        return _read_safetensors(local, name, map_location)
    try:
        return torch.load(
            local, map_location=map_location, pickle_module=ALLOW_LIST, weights_only=False
        )
    except ForbiddenGlobalError as error:
        raise CheckpointError(
            f'The checkpoint {name} holds an object of type {error}, which is no weight and could '
            'run code when it is loaded. Where you trust it, save its weights alone '
            '(torch.save(model.state_dict(), …)).'
        ) from error
    except OSError:
        raise
    except Exception as error:
        # Of a file that is damaged on purpose, the unpickler raises almost anything.
        raise CheckpointError(
            f'The file {name} is not a checkpoint, or it is damaged ({local.stat().st_size:,} '
            f'bytes; {str(error).splitlines()[0] if str(error) else type(error).__name__}). '
            'Expected a torch.save file or .safetensors.'
        ) from error


def _read_safetensors(local: Path, name: str, map_location: Any) -> dict[str, Any]:
    device = map_location if isinstance(map_location, str) else 'cpu'
    try:
        with safe_open(local, framework='pt', device=device) as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            meta = {key: _decode(text) for key, text in (file.metadata() or {}).items()}
            return {'state_dict': weights, 'meta': meta}
    except OSError:
        raise
    except Exception as error:
        raise CheckpointError(
            f'The file {name} is not a safetensors file, or it is damaged: {error}.'
        ) from error


def _decode(text: str) -> Any:
    """What a text of a safetensors header stands for: they hold nothing but texts."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _with_state_dict(content: Any, name: str, weights: str) -> dict[str, Any]:
    """Finds the weights in what a file holds and puts them under ``state_dict``."""
    if isinstance(content, dict):
        # EMAHook saves the average as what the file is for, and the weights of training beside it.
        average = weights == 'ema' and 'ema_state_dict' not in content
        for key in AVERAGES if average else ('state_dict', 'model'):
            if _is_weights(content.get(key)):
                others = {name: value for name, value in content.items() if name != key}
                return {**others, 'state_dict': content[key]}
        if average:
            raise CheckpointError(
                f'The file {name} holds no moving average of its weights: expected it under '
                f"{' or '.join(map(repr, AVERAGES))}. Leave out weights='ema' to take the weights "
                'themselves.'
            )
        if _is_weights(content):
            return {'state_dict': content}
        found = 'a dict with ' + (', '.join(map(repr, list(content)[:8])) or 'nothing in it')
    else:
        found = f'a {type(content).__name__}'
    raise CheckpointError(
        f"The file {name} holds {found}, but no weights: expected them under 'state_dict' or "
        "'model', or as the whole file."
    )


def _without_wrappers(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Weights under the keys that they have without wrappers around the model or parts of it."""
    plain: dict[str, Tensor] = {}
    for key, value in weights.items():
        own = WRAPPERS.sub('', key)
        if own in plain and plain[own] is not value:
            raise CheckpointError(
                f'The file {name} holds two weights for {own}: with and without the prefix of a '
                'wrapper (module., _orig_mod.). Save the unwrapped model.'
            )
        plain[own] = value
    return plain


def _is_weights(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


@dataclass
class LoadReport:
    """What did not match when weights were loaded.

    Attributes:
        missing: Keys of the model that the file lacks.
        unexpected: Keys of the file that the model lacks.
        mismatched: Keys of both with different shapes: (key, shape in the file, in the model).
        matched: Number of keys that were loaded.
        notes: What was adapted or left out on purpose, in sentences.
        sizes: Size of the CAS-ViT in the file and in the model, where both are known.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    matched: int = 0
    notes: list[str] = field(default_factory=list)
    sizes: tuple[str | None, str | None] = (None, None)

    def describe(self) -> str:
        """One sentence on what did not match; empty where everything did."""
        parts = []
        if self.missing:
            parts.append(f'missing {some_of(self.missing)}')
        if self.unexpected:
            parts.append(f'unexpected {some_of(self.unexpected)}')
        if self.mismatched:
            shapes = [
                f'{key} {have} in the file, {want} in the model'
                for key, have, want in self.mismatched
            ]
            parts.append(f'of another shape {some_of(shapes)}')
        in_file, in_model = self.sizes
        if in_file != in_model and in_file is not None:
            known = in_model.upper() if in_model else 'another arch'
            parts.append(f'this looks like size {in_file.upper()}, the config says {known}')
        return '; '.join(parts)


def load_into(
    model: nn.Module, checkpoint: dict[str, Any], *, strict: bool, source: str = 'the checkpoint'
) -> LoadReport:
    """Loads the weights of a checkpoint into a model, never half of a backbone and never silently.

    Args:
        model: A whole detector, segmentor or classifier, or a bare backbone; wrappers for
            distributed training or test-time augmentation are looked into.
        checkpoint: What :func:`read_checkpoint` returned.
        strict: Whether every weight of the model must come from the file (testing, resuming).
            Else heads may differ (fine-tuning on other classes), and what does is logged; the
            backbone must fit in either case.
        source: Name of the file, for messages.

    A model whose file holds weights of another structure (fused ones) is rebuilt in place.

    Returns:
        What did not match.

    Raises:
        CheckpointError: The weights do not fit.
    """
    model = unwrap(model)
    _rebuild(model, checkpoint, strict, source)
    report, state_dict = match_weights(model, checkpoint['state_dict'])
    for note in report.notes:
        print_log(f'{source}: {note}', logger='current')
    problem = report.describe()
    backbone = _backbone_prefix(model)
    torn_backbone = backbone is not None and any(
        key.startswith(backbone)
        for key in [*report.missing, *(key for key, _, _ in report.mismatched)]
    )
    if report.matched == 0 or torn_backbone or (strict and (report.missing or report.mismatched)):
        raise CheckpointError(
            f'{source} does not fit the model: {problem}.'
            f'{_advice(checkpoint["state_dict"], report, model)}'
        )
    model.load_state_dict(state_dict, strict=False)
    if problem:
        print_log(f'{source}: {problem}.', logger='current', level=logging.WARNING)
    return report


def _rebuild(model: nn.Module, checkpoint: dict[str, Any], strict: bool, source: str) -> None:
    """Gives a model the structure that the weights of a file are for."""
    structure = _structure(checkpoint, source)
    if structure is None:
        return
    # Not STRUCTURES.get(), which imports what a dotted name names: the name comes from the file.
    rebuild = _known_structures().get(structure)
    if rebuild is None:
        raise CheckpointError(
            f'{source} holds weights of a {structure[:40]!r} model, which this version does not '
            f'know; known: {", ".join(sorted(_known_structures()))}.'
        )
    if not strict:
        raise CheckpointError(
            f'{source} holds a {structure} model, which can be tested and shown pictures, but not '
            'trained: start from the checkpoint that it was made from.'
        )
    rebuild(model)


def _known_structures() -> dict[str, Callable[[nn.Module], None]]:
    STRUCTURES.import_from_location()
    return STRUCTURES.module_dict


def _structure(checkpoint: dict[str, Any], source: str) -> str | None:
    """The name of the structure that a checkpoint's weights are for; None for the usual one."""
    meta = checkpoint.get('meta')
    structure = meta.get('structure') if isinstance(meta, Mapping) else None
    if structure is None or isinstance(structure, str):
        return structure
    raise CheckpointError(
        f'{source} is damaged: meta.structure is of type {type(structure).__name__}: expected a '
        f'name ({", ".join(sorted(_known_structures()))}).'
    )


def match_weights(
    model: nn.Module, weights: dict[str, Tensor]
) -> tuple[LoadReport, dict[str, Tensor]]:
    """Compares weights with what a model wants, changing neither.

    Args:
        model: The model.
        weights: Weights under native or published keys.

    Returns:
        The report, and the weights that fit, under the model's keys.
    """
    weights = dict(weights)
    notes = []
    for name, module in model.named_modules():
        if hasattr(module, 'adapt_state_dict'):
            notes += module.adapt_state_dict(weights, f'{name}.' if name else '')
    expected = model.state_dict()
    fitting, mismatched = {}, []
    for key in expected.keys() & weights.keys():
        have, want = tuple(weights[key].shape), tuple(expected[key].shape)
        if have == want:
            fitting[key] = weights[key]
        else:
            mismatched.append((key, have, want))
    prefix = _backbone_prefix(model) or ''
    report = LoadReport(
        missing=[
            key
            for key in expected
            if key not in weights and not key.endswith('num_batches_tracked')
        ],
        unexpected=[key for key in weights if key not in expected],
        mismatched=sorted(mismatched),
        matched=len(fitting),
        notes=notes,
        sizes=(guess_size(weights, prefix), guess_size(expected, prefix)),
    )
    return report, fitting


def _backbone_prefix(model: nn.Module) -> str | None:
    # A classifier around the backbone adapts weights too: the innermost module is the backbone.
    names = [name for name, part in model.named_modules() if hasattr(part, 'adapt_state_dict')]
    return (f'{names[-1]}.' if names[-1] else '') if names else None


def _advice(weights: dict[str, Tensor], report: LoadReport, model: nn.Module) -> str:
    parts = ('patch_embed.', 'network.', 'stem.', 'stages.')
    astray = any(key.startswith(parts) for key in report.unexpected)
    if not hasattr(model, 'adapt_state_dict'):
        astray = astray or any(map(NATIVE_CLASSIFIER.match, weights))
    if astray and _backbone_prefix(model):
        return (
            ' It holds a backbone or classifier alone: give it as '
            'model.backbone.init_cfg.checkpoint instead.'
        )
    return ''


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    shown = ', '.join(names[:most])
    return shown if len(names) <= most else f'{shown} and {len(names) - most} more'
