"""Loads weights into a model: never half a backbone, and never silently."""

import logging
import re
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from casvit.errors import CheckpointError
from casvit.sentences import some
from casvit_mm.models.checkpoint.published_layout import guess_size
from casvit_mm.models.checkpoint.structures import rebuild_for
from casvit_mm.models.wrappers import unwrap

NATIVE_CLASSIFIER = re.compile(r'head\.(fc|dist_fc)\.')


@dataclass
class LoadReport:
    """Mismatches found when weights were loaded.

    Attributes:
        missing: Keys of the model that are not in the file.
        unexpected: Keys of the file that are not in the model.
        mismatched: Keys in both with different shapes: (key, shape in the file, in the model).
        matched: Number of keys that were loaded.
        notes: Sentences about what was adapted or left out on purpose.
        sizes: Size of the CAS-ViT in the file and in the model; None if unknown.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    matched: int = 0
    notes: list[str] = field(default_factory=list)
    sizes: tuple[str | None, str | None] = (None, None)

    def describe(self) -> str:
        """Describes the mismatches in one sentence; empty if there are none."""
        parts = []
        if self.missing:
            parts.append(f'missing {some(self.missing, quoted=False)}')
        if self.unexpected:
            parts.append(f'unexpected {some(self.unexpected, quoted=False)}')
        if self.mismatched:
            shapes = [
                f'{key} {have} in the file, {want} in the model'
                for key, have, want in self.mismatched
            ]
            parts.append(f'with a different shape {some(shapes, quoted=False)}')
        in_file, in_model = self.sizes
        if in_file != in_model and in_file is not None:
            known = in_model.upper() if in_model else 'a different arch'
            parts.append(f'this looks like size {in_file.upper()}, the config says {known}')
        return '; '.join(parts)


def load_into(
    model: nn.Module, checkpoint: dict[str, Any], *, strict: bool, source: str = 'the checkpoint'
) -> LoadReport:
    """Loads the weights of a checkpoint into a model, never half a backbone and never silently.

    If the checkpoint holds weights of another structure (a fused model), the model is rebuilt in
    place.

    Args:
        model: A detector, segmentor or classifier, or a bare backbone; wrappers for distributed
            training or test-time augmentation are unwrapped.
        checkpoint: The result of :func:`read_checkpoint`.
        strict: Whether every weight of the model must come from the file (testing, resuming).
            If not, heads may differ (fine-tuning on other classes) and differences are logged;
            the backbone must fit in either case.
        source: Name of the file, for messages.

    Returns:
        The mismatches.

    Raises:
        CheckpointError: The weights do not fit.
    """
    model = unwrap(model)
    rebuild_for(model, checkpoint, strict, source)
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


def match_weights(
    model: nn.Module, weights: dict[str, Tensor]
) -> tuple[LoadReport, dict[str, Tensor]]:
    """Compares weights with those that a model expects, changing neither.

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
    # A classifier around the backbone adapts weights too; the innermost module is the backbone.
    names = [name for name, part in model.named_modules() if hasattr(part, 'adapt_state_dict')]
    return (f'{names[-1]}.' if names[-1] else '') if names else None


def _advice(weights: dict[str, Tensor], report: LoadReport, model: nn.Module) -> str:
    parts = ('patch_embed.', 'network.', 'stem.', 'stages.')
    astray = any(key.startswith(parts) for key in report.unexpected)
    if not hasattr(model, 'adapt_state_dict'):
        astray = astray or any(map(NATIVE_CLASSIFIER.match, weights))
    if astray and _backbone_prefix(model):
        return (
            ' It holds only a backbone or a classifier: pass it as '
            'model.backbone.init_cfg.checkpoint instead.'
        )
    return ''
