"""Computes a bad step of a run again, and prints where its numbers go wrong."""

import importlib
from argparse import Namespace

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope

from casvit.errors import CliError
from casvit.names import printable
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.read import load_config
from casvit_mm.config.view import ConfigView
from casvit_mm.engine.bad_steps.record import BadStep, listed, read_bad_step
from casvit_mm.engine.bad_steps.replay import Replayed, replay
from casvit_mm.inference.image_model import with_weights
from casvit_mm.inference.saved_config import read_saved_config
from casvit_mm.speed.devices import usable_device

NAMED = 12
"""Weights or images that are named."""
UNFIT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What models raise if a batch is not one of theirs."""


def run(args: Namespace) -> int:
    """Replays a step.

    Args:
        args: The parsed arguments.

    Returns:
        0 if the problem of the run is there again, 1 if the step is finite here.

    Raises:
        CheckpointError: The file cannot be read, or does not fit the model.
        CliError: The config has no model, or the batch in the file is not one for the model.
        DeviceError: The device does not exist.
        SavedConfigError: The config in the file is refused.
    """
    args.device = usable_device(args.device or get_device())
    # Weights that the model itself would load are then read as data, too.
    importlib.import_module('casvit_mm.safe_loading')
    cfg = None
    if args.config is not None:
        cfg = load_config(args.config)
        if not cfg.get('model'):
            raise CliError(f'The config {cfg.filename} has no model.')
        load_toolbox(cfg)
    step, content = read_bad_step(args.file)
    if cfg is None:
        text = (content.get('meta') or {}).get('cfg')
        cfg = read_saved_config(text, args.file, '--config CONFIG')
    replayed = _replayed(cfg, content, step, args)
    for line in _lines(step, replayed):
        print(printable(line))
    if replayed.reproduces(step):
        print('The problem is there again.')
        return 0
    print(f'The step is finite here. {_differences(step, args.device)}')
    return 1


def _replayed(cfg: Config, content: dict, step: BadStep, args: Namespace) -> Replayed:
    model = with_weights(cfg, content, str(args.file))
    with DefaultScope.overwrite_default_scope(ConfigView(cfg).scope):
        try:
            return replay(model, step, args.device)
        except UNFIT as error:
            reason = printable(str(error).partition('\n')[0])
            raise CliError(
                f'The step in {args.file} cannot be computed with this model: '
                f'{type(error).__name__}: {reason}.'
            ) from error


def _lines(step: BadStep, replayed: Replayed) -> list[str]:
    exact = 'the same as in the run' if replayed.is_exact(step) else f'run: {listed(step.losses)}'
    lines = [
        f'step: {step.iteration + 1:,}, epoch {step.epoch + 1}, batch {step.done + 1:,}, process '
        f'{step.rank}, seed {step.seed}',
        f'positions of its samples: {_positions(step)}',
        f'not finite in the run: {", ".join(step.found) or "unknown"}',
        f'images: {_some(step.images)}',
        f'losses: {listed(replayed.losses)} ({exact})',
        f'values of the batch that are not finite: {_some(replayed.inputs)}',
    ]
    if replayed.module:
        given = 'finite' if replayed.module_input_is_finite else 'not finite either'
        where = f'{replayed.module} (its input is {given})'
    else:
        where = 'none'
    lines.append(f'first module whose output is not finite: {where}')
    lines.append(
        'first module on the way back whose output has a gradient that is not finite: '
        f'{replayed.backward_module or "none"}'
    )
    broken = replayed.gradients
    lines.append(
        f'weights whose gradient is not finite: {len(broken):,} of {replayed.weights:,}'
        + (f': {_some(broken)}' if broken else '')
    )
    return lines


def _positions(step: BadStep) -> str:
    if not step.positions:
        return 'unknown'
    places = [f'{each + 1:,}' for each in step.positions]
    return f'{_some(places)}, in pass {step.passes + 1:,} over the dataset'


def _some(names: list[str]) -> str:
    more = f' and {len(names) - NAMED:,} more' if len(names) > NAMED else ''
    return (', '.join(names[:NAMED]) or 'none') + more


def _differences(step: BadStep, device: str) -> str:
    """Why the numbers may differ from those of the run."""
    run = ', '.join(f'{name} {value}' for name, value in step.circumstances.items())
    return (
        f'It was computed on {device}; the run had: {printable(run)}. What other processes had in '
        'the same step, and options that make training faster, are not in the file.'
    )
