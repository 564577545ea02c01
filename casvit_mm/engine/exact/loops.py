"""mmengine's training loops, which can be resumed at every step."""

import bisect
import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_rank
from mmengine.registry import DATA_SAMPLERS, LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from casvit.errors import UserError
from casvit_mm.engine.exact.positions import PositionedBatch, PositionedBatchSampler
from casvit_mm.engine.exact.randomness import VALIDATIONS, load_with_care, seed_step
from casvit_mm.engine.exact.rewinds import Rewind, RewindError, Spot
from casvit_mm.engine.exact.state import Place, RunState
from casvit_mm.registration import registered_in

Loader = DataLoader | dict[str, Any]


class NoBatchesError(UserError, ValueError):
    """There is nothing to train with."""


class _Loop:
    """What both loops share.

    Attributes:
        done: Batches of the current epoch, or of the whole run, that have been trained.
        validation_due: Whether a validation comes before the next step.
        resumed: State of the run that this one goes on with.
        rewinds: Returns of the run to earlier checkpoints.
        batch: What is known of the batch of the current step; None if the user built the loader.
    """

    # Set by mmengine's loops.
    runner: Any
    dataloader: DataLoader
    val_begin: int
    dynamic_milestones: list[int]
    dynamic_intervals: list[int]
    _epoch: int
    _iter: int

    done = 0
    validation_due = False
    resumed: RunState | None = None
    rewinds: Sequence[Rewind] = ()
    batch: PositionedBatch | None = None
    _in_step = _at_end = False
    _sampler: Any = None
    _sampler_seed: int | None = None

    def _follow_positions(self, loader: Loader) -> None:
        """Lets samples be loaded with random numbers of their own.

        Args:
            loader: What the loop was built with.
        """
        if self.is_exact:
            load_with_care(self.dataloader, self.runner.seed)
        if isinstance(loader, dict):
            self._sampler = loader.get('sampler')
            if not self.runner._randomness_cfg.get('diff_rank_seed'):
                self._sampler_seed = self.runner.seed

    @property
    def is_exact(self) -> bool:
        """Whether the loader can begin anywhere: one that the user built may not."""
        return isinstance(self.dataloader.batch_sampler, PositionedBatchSampler)

    @property
    def left_out(self) -> set[Spot]:
        """The batches that the run leaves out."""
        spots = (spot for rewind in self.rewinds for spot in rewind.left_out)
        return set(spots) if self.is_exact else set()

    def latest(self, count: int) -> list[Spot]:
        """The last batches that were trained, of which the last is that of the current step.

        Args:
            count: How many; there are fewer at the beginning of a run.
        """
        epoch, index = self._pass(), self.done
        left_out = self.left_out
        found: list[Spot] = []
        while len(found) < count and epoch >= 0:
            if (epoch, index) not in left_out:
                found.append((epoch, index))
            index -= 1
            if index < 0:
                epoch, index = epoch - 1, len(self.dataloader) - 1
        return found[::-1]

    def _pass(self) -> int:
        """Passes over the dataset before this one, if batches are counted in each of them."""
        raise NotImplementedError

    def _train(self) -> None:
        """Trains from where the run is to its end."""
        raise NotImplementedError

    def _train_and_go_back(self) -> None:
        """Trains to the end, from earlier checkpoints again where that is asked for."""
        while True:
            try:
                self._train()
                return
            except RewindError as wanted:
                file, rewind = wanted.file, wanted.rewind
            # After the error is gone, which would keep what was being loaded alive.
            self._go_back(file, rewind)

    def _go_back(self, file: str, rewind: Rewind) -> None:
        self._in_step = self._at_end = False
        if isinstance(self._sampler, dict):
            # Some samplers cannot begin again.
            batches: Any = self.dataloader.batch_sampler
            defaults = dict(dataset=self.dataloader.dataset, seed=self._sampler_seed)
            batches.take(DATA_SAMPLERS.build(self._sampler, default_args=defaults))
        rewinds = [*self.rewinds, rewind]
        self.runner.rewind(file)
        assert self.resumed is not None
        self.resumed.rewinds = rewinds
        self._take_up(again=True)

    def _begin(self, epoch: int, skipped: int) -> None:
        if self.is_exact:
            batches: Any = self.dataloader.batch_sampler
            left_out = {index for passed, index in self.left_out if passed == self._pass()}
            batches.begin(epoch, skipped, left_out)

    @contextmanager
    def _step(self) -> Iterator[None]:
        if self.is_exact:
            batches: Any = self.dataloader.batch_sampler
            # Batches that are left out were not handed out.
            self.done = min(batches.handed_out, default=self.done)
            self.batch = batches.handed_out.pop(self.done, None)
        seed_step(self.runner.seed, self._iter, get_rank())
        self._in_step = True
        yield
        self._in_step = False
        self.done += 1

    def _is_validated_at(self, place: int, last: int) -> bool:
        """Whether the validation comes after an epoch or a step."""
        interval = self.dynamic_intervals[bisect.bisect(self.dynamic_milestones, place + 1) - 1]
        return (
            self.runner.val_loop is not None
            and place >= self.val_begin
            and (place % interval == 0 or place == last)
        )

    def _validate(self) -> None:
        self.validation_due = True
        seed_step(self.runner.seed, self._iter, get_rank(), VALIDATIONS)
        self.runner.val_loop.run()
        self.validation_due = False

    def _take_up(self, again: bool = False) -> None:
        """Goes on where another run was, or this one earlier, if it resumes."""
        if self.runner.val_loop is not None:
            load_with_care(self.runner.val_loop.dataloader, self.runner.seed)
        if self.resumed is None:
            return
        place = self.resumed.place
        self.done, self.validation_due = place.done, place.validation_due
        self.rewinds = tuple(self.resumed.rewinds)
        self.resumed.restore(self.runner)
        if again:
            self.runner.call_hook('after_rewind')
        if self.validation_due:
            self._validate()


def positioned(loader: Loader) -> Loader:
    """The config of a loader whose batches know their positions; a loader as it is.

    Args:
        loader: A loader or its config.
    """
    if isinstance(loader, DataLoader):
        return loader
    loader = copy.copy(loader)
    wrapper = dict(
        type=PositionedBatchSampler,
        waits=True,
        drop_last=loader.pop('drop_last', False),
        batches=loader.get('batch_sampler'),
    )
    return {**loader, 'batch_sampler': wrapper}


def exact_loop(loop: BaseLoop | dict[str, Any]) -> BaseLoop | dict[str, Any]:
    """The config of a loop, with the loops of this package in place of mmengine's.

    Args:
        loop: ``train_cfg`` of a config, or a loop.
    """
    if not isinstance(loop, dict):
        return loop
    options = dict(loop)
    kind = options.pop('type', None)
    by_epoch = options.pop('by_epoch', True)
    if kind is None:
        kind = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
    for own, names in REPLACED.items():
        if kind in names:
            return {**options, 'type': own}
    return loop


@registered_in(LOOPS)
class ExactEpochLoop(_Loop, EpochBasedTrainLoop):
    """mmengine's EpochBasedTrainLoop, which resumes in the middle of an epoch.

    Each sample is loaded, and each step computed, with random numbers that depend only on the seed
    and its place in the run. It takes the arguments of ``EpochBasedTrainLoop``.
    """

    def __init__(self, runner: Runner, dataloader: Loader, *args: Any, **kwargs: Any) -> None:
        super().__init__(runner, positioned(dataloader), *args, **kwargs)
        self._follow_positions(dataloader)

    @property
    def max_iters(self) -> int:
        """Steps of the run: those of all epochs, without batches that are left out."""
        steps = len(self.dataloader)
        left_out = sum(epoch < self._max_epochs and i < steps for epoch, i in self.left_out)
        return self._max_iters - left_out

    def run(self) -> nn.Module:
        """Trains, after a validation that an earlier run still had to do."""
        self.runner.call_hook('before_train')
        self._take_up()
        self._train_and_go_back()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _pass(self) -> int:
        return self._epoch

    def _train(self) -> None:
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            if self._is_validated_at(self._epoch, self._max_epochs):
                self._validate()

    def place(self) -> Place:
        """Where the run is: what a checkpoint that is written now goes on from."""
        if self._in_step:
            return Place(self._epoch, self._iter + 1, self.done + 1, False)
        if self._at_end:
            due = self._is_validated_at(self._epoch + 1, self._max_epochs)
            return Place(self._epoch + 1, self._iter, 0, due)
        return Place(self._epoch, self._iter, self.done, self.validation_due)

    def run_epoch(self) -> None:
        """Trains an epoch, or what is left of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self._begin(self._epoch, self.done)
        for batch in self.dataloader:
            with self._step():
                self.run_iter(self.done, batch)
        self._at_end = True
        self.runner.call_hook('after_train_epoch')
        self._at_end = False
        self.done = 0
        self._epoch += 1


@registered_in(LOOPS)
class ExactIterLoop(_Loop, IterBasedTrainLoop):
    """mmengine's IterBasedTrainLoop, which resumes without loading what was trained already.

    Each sample is loaded, and each step computed, with random numbers that depend only on the seed
    and its place in the run. It takes the arguments of ``IterBasedTrainLoop``.
    """

    def __init__(self, runner: Runner, dataloader: Loader, *args: Any, **kwargs: Any) -> None:
        super().__init__(runner, positioned(dataloader), *args, **kwargs)
        _end_workers(self.dataloader, self.dataloader_iterator)
        self._follow_positions(dataloader)

    def run(self) -> nn.Module:
        """Trains, after a validation that an earlier run still had to do."""
        self.runner.call_hook('before_train')
        self._take_up()
        self._train_and_go_back()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _pass(self) -> int:
        return 0

    def _train(self) -> None:
        self.dataloader_iterator: Any = Endless(self.dataloader)
        self.runner.call_hook('before_train_epoch')
        self._begin(0, self.done)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            batch = next(self.dataloader_iterator)
            with self._step():
                self.run_iter(batch)
            self._decide_current_val_interval()
            if self._is_validated_at(self._iter, self._max_iters):
                self._validate()

    def place(self) -> Place:
        """Where the run is: what a checkpoint that is written now goes on from."""
        if not self._in_step:
            return Place(self._epoch, self._iter, self.done, self.validation_due)
        due = self._is_validated_at(self._iter + 1, self._max_iters)
        return Place(self._epoch, self._iter + 1, self.done + 1, due)


class Endless:
    """Goes through a loader again and again.

    Args:
        loader: The loader.

    Raises:
        NoBatchesError: The loader has no batches.
    """

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader
        # Made late: worker processes have the dataset as it is when they start.
        self._iterator: Iterator[Any] | None = None
        self._epoch = 0

    def __iter__(self) -> 'Endless':
        return self

    def __next__(self) -> Sequence[dict]:
        if self._iterator is None:
            self._iterator = iter(self._loader)
        passes = 0
        while (batch := next(self._iterator, None)) is None:
            # A pass may be skipped to its end, but not the one after it.
            passes += not getattr(self._loader.batch_sampler, 'has_batches', False)
            if passes > 2:
                raise NoBatchesError(
                    'The training data has no batch: it has fewer images than '
                    'train_dataloader.batch_size, and drop_last=True, or its sampler has ended.'
                )
            self._epoch += 1
            _set_epoch(self._loader, self._epoch)
            self._iterator = iter(self._loader)
        return batch


def _set_epoch(loader: DataLoader, epoch: int) -> None:
    """Tells the sampler of a loader which order comes next."""
    samplers: list[Any] = [loader.sampler, getattr(loader.batch_sampler, 'sampler', None)]
    for sampler in samplers:
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(epoch)
            return


def _end_workers(loader: DataLoader, iterator: Any) -> None:
    """Ends the worker processes that older versions of mmengine start at once."""
    running = getattr(iterator, '_iterator', None)
    if loader.num_workers and running is not None:
        running._shutdown_workers()
    loader._iterator = None


REPLACED: dict[type, tuple[Any, ...]] = {
    ExactEpochLoop: (EpochBasedTrainLoop, 'EpochBasedTrainLoop', 'mmengine.EpochBasedTrainLoop'),
    ExactIterLoop: (IterBasedTrainLoop, 'IterBasedTrainLoop', 'mmengine.IterBasedTrainLoop'),
}
"""How a config may name the loops that those of this package stand in for."""
