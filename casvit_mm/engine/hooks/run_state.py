"""Saves what a run needs to go on exactly, and saves it before the run is ended."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from torch import Tensor

from casvit.sentences import from_here
from casvit_mm.engine.checkpoints import RECENT
from casvit_mm.engine.exact.rewinds import STATE
from casvit_mm.engine.exact.state import RunState
from casvit_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook
from casvit_mm.engine.interruption import Interruption


class RunStateHook(Hook):
    """Adds the state of the run to its checkpoints."""

    # The validation is over for all other hooks that follow it, such as one that saves.
    priority = 'VERY_HIGH'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Adds the state."""
        if hasattr(runner.train_loop, 'place'):
            checkpoint[STATE] = RunState.of(runner).saved()

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Notes that no validation is due."""
        loop: Any = runner.train_loop
        loop.validation_due = False


class InterruptionHook(Hook):
    """Saves a checkpoint after the current step, and ends the run, if it is told to end.

    Args:
        interruption: What was told to the run.
    """

    # After the hook that saves checkpoints.
    priority = 'LOWEST'

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption

    def before_train_epoch(self, runner: Runner) -> None:
        """Lets signals wait for the end of a step."""
        self.interruption.waits = True

    def before_val(self, runner: Runner) -> None:
        """Lets signals end the run: the checkpoint of before the validation stands."""
        self.interruption.waits = False
        if self.interruption.is_noted_anywhere():
            self._end(runner, 'It was saved before this validation.')

    def after_val(self, runner: Runner) -> None:
        """Lets signals wait for the end of a step."""
        self.interruption.waits = True

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Saves and ends, if the run was told to end.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After SIGTERM.
        """
        if not self.interruption.is_noted_anywhere():
            return
        self.interruption.waits = False
        hooks = [hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)]
        if any([hook.save_recent(runner) for hook in hooks]):
            saved = f'It is saved in {from_here(Path(runner.work_dir, RECENT))}'
        else:
            saved = 'It could not be saved'
        self._end(runner, f'{saved}.')

    def _end(self, runner: Runner, saved: str) -> None:
        runner.logger.warning(
            f'The run was told to end, at step {runner.iter + 1:,}. {saved} --resume continues it.'
        )
        self.interruption.end()
