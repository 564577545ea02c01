"""Tells what a run keeps of its checkpoint, and what it makes anew, before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from casvit.errors import CheckpointError
from casvit.sentences import count_of, some
from casvit_mm.config.edit import drop_pretrained
from casvit_mm.config.view import ConfigView
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.plan import Plan
from casvit_mm.finetune.start import Start
from casvit_mm.models.checkpoint.class_rows import CLASS_LAYERS, keep_known_classes
from casvit_mm.models.checkpoint.load import match_weights
from casvit_mm.models.optional import import_toolbox

# By the start of their keys, the longer ones first.
PARTS = {
    'roi_head.bbox_head': 'box head',
    'roi_head.mask_head': 'mask head',
    'rpn_head': 'RPN',
    'panoptic_head': 'mask head',
    'bbox_head': 'box head',
    'head': 'classification head',
}
OUTPUTS = frozenset((*CLASS_LAYERS, 'cls_branches', 'cls_embed', 'conv_cls', 'dist_fc', 'fc_reg'))


@dataclass
class Part:
    """A part of a model, compared with a checkpoint.

    Attributes:
        name: Its name in the field.
        kept: Number of weights that the checkpoint has.
        outputs: Whether its outputs by class are made anew.
        lacking: Why other weights are made anew; empty if there are none.
    """

    name: str
    kept: int = 0
    outputs: bool = False
    lacking: str = ''


def build_model(plan: Plan) -> nn.Module:
    """Builds the model that a plan trains, with random weights.

    Args:
        plan: The plan.

    Raises:
        CliError: The config cannot be changed for the dataset.
        MissingPackageError: The toolbox of the config is not installed.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / 'config.py'
        file.write_text(config_text(plan), encoding='utf-8')
        cfg = Config.fromfile(file)
    scope = ConfigView(cfg).scope
    import_toolbox(scope)
    model_cfg = cfg.model.copy()
    drop_pretrained(model_cfg)
    if cfg.get('data_preprocessor'):
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model_cfg)


def describe_start(plan: Plan, model: nn.Module, start: Start) -> str:
    """Describes what a run keeps of its checkpoint, and what it makes anew and why.

    Args:
        plan: The plan.
        model: Its model.
        start: The checkpoint.

    Returns:
        One line.

    Raises:
        CheckpointError: The backbone of the checkpoint is not that of the model.
    """
    parts = compare(model, start.weights, start.classes, plan.data.classes)
    if plan.load_from is None:
        others = [part.name for name, part in parts.items() if name != 'backbone']
        return (
            f'From {start.source}: kept: backbone; new: {_listed(others)}, which it does not hold.'
        )
    backbone = parts.get('backbone')
    if backbone is None or backbone.lacking or not backbone.kept:
        why = f'one of its weights is {backbone.lacking}' if backbone else 'it has none'
        raise CheckpointError(
            f'The backbone in {start.source} is not that of {Path(str(plan.base.filename)).stem}: '
            f'{why}. Name the config that it was trained with, --config CONFIG.'
        )
    kept = [part.name for part in parts.values() if part.kept and not part.lacking]
    new = [f'{part.name} ({part.lacking})' for part in parts.values() if part.lacking]
    outputs = [part.name for part in parts.values() if part.outputs]
    if outputs:
        new.insert(0, _of_classes(outputs, start, plan.data.classes))
    return f'From {start.source}: kept: {_listed(kept)}; new: {_listed(new) or "nothing"}.'


def compare(
    model: nn.Module, weights: dict[str, Tensor], old: Sequence[str], new: Sequence[str]
) -> dict[str, Part]:
    """Compares a model with the weights of a checkpoint, part by part.

    Args:
        model: The model.
        weights: The weights.
        old: Classes of the checkpoint; empty if unknown.
        new: Classes of the model.

    Returns:
        The parts of the model by the start of their keys, in its order.
    """
    own = model.state_dict()
    fitted, _ = keep_known_classes(weights, own, old, new) if old else (weights, [])
    remade = {key for key, value in fitted.items() if value is not weights[key]}
    report, fitting = match_weights(model, fitted)
    shapes: Mapping[str, Any] = {key: (have, want) for key, have, want in report.mismatched}
    parts: dict[str, Part] = {}
    for key in own:
        if key.endswith('num_batches_tracked') or key.startswith('data_preprocessor.'):
            continue
        start, name = _part_of(key)
        part = parts.setdefault(start, Part(name))
        output = bool(OUTPUTS & set(key.split('.'))) and start not in ('backbone', 'neck')
        if key in remade or (output and key in shapes):
            part.outputs = True
        elif key in fitting:
            part.kept += 1
        elif not part.lacking:
            part.lacking = (
                '{} in the file, {} here'.format(*map(_shape, shapes[key]))
                if key in shapes
                else 'not in the file'
            )
    for part in parts.values():
        if part.outputs and not part.kept:
            part.outputs, part.lacking = False, part.lacking or 'other classes'
    return parts


def _part_of(key: str) -> tuple[str, str]:
    """The start of a key, and the name of the part that it belongs to."""
    for start, name in PARTS.items():
        if key.startswith(f'{start}.'):
            return start, name
    start = key.partition('.')[0]
    return start, start.replace('_', ' ')


def _of_classes(names: Sequence[str], start: Start, classes: Sequence[str]) -> str:
    number = count_of(len(classes), 'class')
    text = f'outputs of {_listed(names, "and")} for your {number}'
    if shared := [name for name in classes if name in start.classes]:
        return f'{text} (without {some(shared, quoted=False)}, which the file knows)'
    return f'{text} (the file has {len(start.classes)} others)' if start.classes else text


def _shape(shape: Sequence[int]) -> str:
    return f'({", ".join(map(str, shape))})'


def _listed(names: Sequence[str], last: str = '') -> str:
    if last and len(names) > 1:
        return f'{", ".join(names[:-1])} {last} {names[-1]}'
    return ', '.join(names)
