"""What a checkpoint holds, beside weights and optimisers, so that a run goes on exactly."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import torch
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

from casvit.sentences import count_of, short
from casvit_mm.datasets.build import built_leaves
from casvit_mm.engine.exact.circumstances import circumstances
from casvit_mm.engine.exact.rewinds import STATE, Rewind, read_rewinds
from casvit_mm.engine.hooks.invalid_loss import StopOnInvalidLossHook
from casvit_mm.models.checkpoint import CheckpointError
from casvit_mm.models.wrappers import unwrap

OF_HOOKS: dict[type[Hook], tuple[str, ...]] = {
    EarlyStoppingHook: ('best_score', 'wait_count'),
    StopOnInvalidLossHook: ('in_a_row', 'stored'),
}
"""Attributes of hooks that decide how a run goes on, all of them numbers."""
MOST_BATCHES = 256
"""Most batches of a run for each step behind it, as steps may have had more images before.

Resuming goes through them: without a bound, a damaged checkpoint would take hours.
"""


class Place(NamedTuple):
    """A place between two steps of a run.

    Attributes:
        epoch: Epochs behind it; 0 in a run that counts iterations.
        iter: Steps behind it.
        done: Batches behind it in the current epoch, or in a run that counts iterations.
        validation_due: Whether a validation comes before the next step.
    """

    epoch: int
    iter: int
    done: int
    validation_due: bool


@dataclass
class RunState:
    """The state of a run at one place.

    Attributes:
        place: The place.
        circumstances: What the numbers of a run depend on, beside its config.
        gradients: Gradients that wait for an update, by name of the weight.
        hooks: Numbers of hooks, by class and attribute.
        rewinds: Returns to earlier checkpoints, with the batches that are left out.
    """

    place: Place
    circumstances: dict[str, Any]
    gradients: dict[str, Tensor] = field(default_factory=dict)
    hooks: dict[str, dict[str, float]] = field(default_factory=dict)
    rewinds: list[Rewind] = field(default_factory=list)

    @classmethod
    def of(cls, runner: Runner) -> 'RunState':
        """The state of a run, now.

        Args:
            runner: A runner with a loop of this package.
        """
        loop: Any = runner.train_loop
        numbers = {
            kind.__name__: {name: _number(getattr(hook, name)) for name in names}
            for kind, names in OF_HOOKS.items()
            for hook in runner.hooks
            if isinstance(hook, kind)
        }
        gradients = _gradients(runner)
        return cls(loop.place(), circumstances(runner), gradients, numbers, list(loop.rewinds))

    def saved(self) -> dict[str, Any]:
        """The state as plain data, for a checkpoint."""
        return dict(
            place=self.place._asdict(),
            circumstances=self.circumstances,
            gradients=self.gradients,
            hooks=self.hooks,
            rewinds=[each.saved() for each in self.rewinds],
        )

    @classmethod
    def read(cls, saved: Any, source: str) -> 'RunState':
        """The state that a checkpoint holds.

        Args:
            saved: What :meth:`saved` gave.
            source: Name of the checkpoint, for messages.

        Raises:
            CheckpointError: It is something else.
        """
        parts = saved if isinstance(saved, Mapping) else {}
        place: Any
        place, gradients, numbers = (parts.get(key) for key in ('place', 'gradients', 'hooks'))
        if not _are_circumstances(parts.get('circumstances')) or not _is_place(place):
            raise _damaged(source, 'place or circumstances')
        if not isinstance(gradients, Mapping) or not all(
            isinstance(name, str) and isinstance(each, Tensor) for name, each in gradients.items()
        ):
            raise _damaged(source, 'gradients')
        if not isinstance(numbers, Mapping) or not all(map(_are_numbers, numbers.values())):
            raise _damaged(source, 'hooks')
        try:
            rewinds = read_rewinds(parts.get('rewinds', []), place['iter'])
        except ValueError as error:
            raise _damaged(source, 'rewinds') from error
        found = dict(parts['circumstances'])
        return cls(Place(**place), found, dict(gradients), dict(numbers), rewinds)

    def check(self, runner: Runner, source: str) -> None:
        """Checks that the state fits a run.

        Args:
            runner: The run.
            source: Name of the checkpoint, for messages.

        Raises:
            CheckpointError: Its gradients are those of another model.
        """
        parameters = dict(unwrap(runner.model).named_parameters())
        for name, gradient in self.gradients.items():
            own = parameters.get(name)
            if own is None or own.shape != gradient.shape or not gradient.is_floating_point():
                raise _damaged(source, f'gradients.{name}')

    def adapt(self, runner: Runner, source: str) -> None:
        """Counts the batches that are done in those of a run with other ones.

        The order of the samples stays the same. If the images that are done are no whole number of
        the new steps, the rest is trained again.

        Args:
            runner: The run that goes on.
            source: Name of the checkpoint, for messages.

        Raises:
            CheckpointError: No run of so few steps can have so many batches behind it.
        """
        before, now = self.images(runner)
        if before and now and before != now:
            self.place = self.place._replace(done=self.place.done * before // now)
            self.rewinds = [each.in_batches(before, now) for each in self.rewinds]
        if self.place.done > MOST_BATCHES * (self.place.iter + 1):
            raise _damaged(source, 'place.done')

    def images(self, runner: Runner) -> tuple[int | None, int | None]:
        """Images in a step of all processes, before and now; None if that is not known.

        Args:
            runner: The run that goes on.
        """
        return _images_per_step(self.circumstances), _images_per_step(circumstances(runner))

    def rate_factor(self, runner: Runner) -> float:
        """What the learning rates of the state are multiplied by; 1 without ``--auto-scale-lr``.

        Args:
            runner: The run that goes on.
        """
        before, now = self.images(runner)
        is_wanted = (runner.auto_scale_lr or {}).get('enable')
        return now / before if is_wanted and before and now else 1.0

    def restore(self, runner: Runner) -> None:
        """Gives the hooks and weights of a run what the state has for them.

        Args:
            runner: The run, right before its next step.
        """
        for kind, names in OF_HOOKS.items():
            numbers = self.hooks.get(kind.__name__, {})
            for hook in runner.hooks:
                if isinstance(hook, kind):
                    for name in names:
                        if name in numbers:
                            setattr(hook, name, numbers[name])
        parameters = dict(unwrap(runner.model).named_parameters())
        for name, gradient in self.gradients.items():
            # In the layout of the weight: sums over a gradient depend on the order of its elements.
            own = torch.empty_like(parameters[name])
            parameters[name].grad = own.copy_(gradient)

    def warnings(self, runner: Runner) -> list[str]:
        """Why a run that goes on may give other numbers than an uninterrupted one.

        Args:
            runner: The run that goes on.
        """
        if not self.circumstances:
            return [
                'The checkpoint does not hold the exact state of its run: the resumed run may '
                'differ a little from an uninterrupted one.'
            ]
        changed = [
            f'{name} {_shown(self.circumstances[name])} before, {_shown(value)} now'
            for name, value in circumstances(runner).items()
            if name in self.circumstances and self.circumstances[name] != value
        ]
        lines = []
        if self.rewinds:
            batches = {spot for rewind in self.rewinds for spot in rewind.left_out}
            lines.append(
                f'The run had gone back {count_of(len(self.rewinds), "time")} to an earlier '
                'checkpoint, as its numbers were not finite. It leaves out the batches of '
                f'{count_of(len(batches), "step")}.'
            )
        if remembering := sorted(_remembering(runner.train_dataloader.dataset)):
            lines.append(
                f'The resumed run differs from an uninterrupted one: {", ".join(remembering)} of '
                'its pipeline keeps earlier images, which are not saved.'
            )
        if not changed:
            return lines
        lines += [f'The resumed run may differ from an uninterrupted one: {"; ".join(changed)}.']
        before, now = self.images(runner)
        if before and now and before != now:
            factor = self.rate_factor(runner)
            rates = (
                f'--auto-scale-lr multiplies all learning rates by {factor:g}'
                if factor != 1
                else 'learning rates and schedules go on as they were (--auto-scale-lr scales them)'
            )
            lines.append(
                f'A step has {now} images now, and had {before}: the samples keep their order, and '
                f'{rates}.'
            )
        return lines


def state_of_checkpoint(saved: Any, meta: Mapping[str, Any], loop: Any, source: str) -> RunState:
    """The state that a checkpoint holds; derived from its counts if it is not one of ours.

    Args:
        saved: Its ``run_state``; None if it has none.
        meta: Its ``meta``, with the numbers of epochs and steps.
        loop: The loop that goes on.
        source: Name of the checkpoint, for messages.

    Raises:
        CheckpointError: The state is damaged.
    """
    if saved is not None:
        state = RunState.read(saved, source)
        if (state.place.epoch, state.place.iter) != (meta['epoch'], meta['iter']):
            raise _damaged(source, 'place')
        return state
    epoch, iteration = meta['epoch'], meta['iter']
    behind = epoch * len(loop.dataloader) if isinstance(loop, EpochBasedTrainLoop) else 0
    return RunState(Place(epoch, iteration, max(iteration - behind, 0), False), {})


def _remembering(dataset: Any) -> set[str]:
    """Names of transforms that depend on the samples before."""
    found: set[str] = set()
    parts = (dataset, *built_leaves(dataset))
    waiting: list[Any] = [getattr(each, 'pipeline', None) for each in parts]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (list, tuple)):
            waiting += each
            continue
        if type(each).__name__.startswith('Cached'):
            found.add(type(each).__name__)
        waiting += [value for value in [getattr(each, 'transforms', None)] if value]
    return found


def _images_per_step(found: Mapping[str, Any]) -> int | None:
    """Images in a step of all processes; None if that is not known."""
    counts: list[Any] = [found.get(name) for name in ('processes', 'images per process')]
    if not all(type(each) is int and each > 0 for each in counts):
        return None
    return math.prod(counts)


def _gradients(runner: Runner) -> dict[str, Tensor]:
    """Gradients of steps whose update is still to come."""
    wrapper: Any = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper) or wrapper.should_update():
        return {}
    return {
        name: weight.grad.detach().cpu().clone()
        for name, weight in unwrap(runner.model).named_parameters()
        if weight.grad is not None
    }


def _number(value: Any) -> int | float:
    return value if type(value) is int else float(value)


def _is_place(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != set(Place._fields):
        return False
    counts = [value[name] for name in Place._fields[:-1]]
    return type(value['validation_due']) is bool and all(
        type(each) is int and each >= 0 for each in counts
    )


def _are_circumstances(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        each is None or isinstance(each, (str, Real)) for each in value.values()
    )


def _are_numbers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(each, Real) for each in value.values())


def _shown(value: Any) -> str:
    return short(value) if not isinstance(value, str) else value


def _damaged(source: str, where: str) -> CheckpointError:
    return CheckpointError(
        f'{source} holds the state of another kind of run, or it is damaged: {STATE}.{where}.'
    )
