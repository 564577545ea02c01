"""Shows a run on the terminal: its facts, progress and results."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

from casvit.terminal import results
from casvit.terminal.screen import Screen
from casvit_mm.engine.run_facts import batch_size, memory, testing_facts, training_facts

WINDOW = 50
"""Steps over which loss and speed are averaged."""


class ScreenHook(Hook):
    """Shows a run on a screen; see :class:`casvit.terminal.screen.Screen`.

    Training starts with what is trained and how. Then there is a bar with loss, learning rate,
    images per second, memory and remaining time, a row of results after every validation, and the
    results of a test.

    Args:
        screen: The screen.

    Attributes:
        last: The metrics of the last validation or test.
    """

    # Steps are timed with everything that other hooks do.
    priority = 'LOWEST'

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.last: Mapping[str, Any] = {}
        self._table = results.Table()
        self._seconds: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self._images = 0
        self._mark = self._val_began = self._val_seconds = 0.0

    def before_train(self, runner: Runner) -> None:
        """Shows what is trained, and an empty bar."""
        for name, text in training_facts(runner).items():
            self.screen.fact(name, text)
        self._show_training(runner, runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        """Starts timing."""
        self._mark = time.monotonic()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Moves the bar."""
        now = time.monotonic()
        images = _images_in(data_batch) or batch_size(runner.train_dataloader)
        self._seconds.append((now - (self._mark or now), images * get_world_size()))
        self._mark = now
        self._show_training(runner, runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        """Starts a bar for the validation."""
        self._begin('val', len(runner.val_dataloader))

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Moves the bar."""
        self._show_evaluation('val', batch_idx + 1, len(runner.val_dataloader), data_batch)

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, Any] | None = None) -> None:
        """Shows the results as a row of a table."""
        now = time.monotonic()
        self._val_seconds, self._mark = now - self._val_began, now
        self.last = metrics or {}
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        place = ('epoch', str(runner.epoch)) if by_epoch else ('step', str(runner.iter))
        loss = _scalar(runner, 'train/loss')
        cells = [place, ('loss', '-' if loss is None else f'{loss:.3f}')]
        self.screen.end_progress()
        for line in self._table.add([*cells, *results.columns(self.last)]):
            self.screen.say(line)

    def after_train(self, runner: Runner) -> None:
        """Removes the bar."""
        self.screen.end_progress()

    def before_test_epoch(self, runner: Runner) -> None:
        """Shows what is tested, and an empty bar."""
        for name, text in testing_facts(runner).items():
            self.screen.fact(name, text)
        self._begin('test', len(runner.test_dataloader))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Moves the bar."""
        self._show_evaluation('test', batch_idx + 1, len(runner.test_dataloader), data_batch)

    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, Any] | None = None) -> None:
        """Shows the results."""
        self.screen.end_progress()
        self.last = metrics or {}
        for line in results.table(self.last):
            self.screen.tell(line)

    def _begin(self, split: str, total: int) -> None:
        self._val_began = time.monotonic()
        self._images = 0
        self._show_evaluation(split, 0, total, None)

    def _show_evaluation(self, split: str, done: int, total: int, batch: DATA_BATCH) -> None:
        self._images += _images_in(batch) * get_world_size()

        def facts() -> list[str]:
            passed = time.monotonic() - self._val_began
            if not done or not passed:
                return []
            left = f'{_clock(passed / done * (total - done))} left'
            return [f'{self._images / passed:.3g} images/s', left]

        name = {'val': 'validating', 'test': 'testing'}[split]
        self.screen.progress(split, name, done, total, facts)

    def _show_training(self, runner: Runner, done: int) -> None:
        loop = runner.train_loop
        name = 'training'
        if isinstance(loop, EpochBasedTrainLoop):
            name = f'epoch {min(loop.epoch + 1, loop.max_epochs)}/{loop.max_epochs}'

        def facts() -> list[str]:
            found = []
            if (loss := _scalar(runner, 'train/loss')) is not None:
                found.append(f'loss {loss:.3f}')
            if (rate := _learning_rate(runner)) is not None:
                found.append(f'lr {rate:.2e}')
            seconds = sum(each for each, _ in self._seconds)
            if seconds:
                images = sum(number for _, number in self._seconds)
                found.append(f'{images / seconds:.3g} images/s')
                device = next(runner.model.parameters()).device
                found.append(memory(device))
                left = (loop.max_iters - done) * seconds / len(self._seconds)
                left += self._validations_left(runner, done) * self._val_seconds
                found.append(f'{_clock(left)} left')
            return [each for each in found if each]

        self.screen.progress('train', name, done, loop.max_iters, facts)

    def _validations_left(self, runner: Runner, done: int) -> int:
        loop = runner.train_loop
        every = getattr(loop, 'val_interval', 0)
        if runner.val_loop is None or not every:
            return 0
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        now, end = (loop.epoch, loop.max_epochs) if by_epoch else (done, loop.max_iters)
        # The last epoch or step is always followed by one.
        return -(-end // every) - now // every


def _images_in(batch: Any) -> int:
    inputs = batch.get('inputs') if isinstance(batch, Mapping) else None
    return len(inputs) if isinstance(inputs, (Sequence, Tensor)) else 0


def _scalar(runner: Runner, name: str) -> float | None:
    """The average of what a run logs over the last steps; None if it logs no such value."""
    if name not in runner.message_hub.log_scalars:
        return None
    return float(runner.message_hub.get_scalar(name).mean(WINDOW))


def _learning_rate(runner: Runner) -> float | None:
    for name in ('train/base_lr', 'train/lr'):
        if name in runner.message_hub.log_scalars:
            return float(runner.message_hub.get_scalar(name).current())
    return None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}'
