"""How a run goes back to an earlier checkpoint when its numbers stay NaN or infinite."""

from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.runner import Runner

from casvit.sentences import count_of, from_here
from casvit_mm.engine.bad_steps.batch import images_in
from casvit_mm.engine.checkpoints import candidates
from casvit_mm.engine.exact.rewinds import MOST, Rewind, RewindError
from casvit_mm.engine.resume.choice import checkpoint_to_rewind_to

NAMED = 8
"""Images that a sentence names."""


class WayBack:
    """Finds the checkpoint that a run goes back to, and the batches that it leaves out from there.

    The batches of the bad steps are left out, and those of as many steps before them, whose updates
    led there: a run that only left out the bad steps would come to the same weights again.

    Args:
        rewinds: How many times a run may go back.
        patience: Bad steps in a row that end a run, or have it go back.

    Raises:
        ValueError: More batches could be left out than a run keeps in mind.
    """

    def __init__(self, rewinds: int, patience: int) -> None:
        if rewinds < 0:
            raise ValueError(f'rewinds={rewinds}: expected at least 0')
        if rewinds * 2 * patience > MOST:
            raise ValueError(
                f'rewinds={rewinds}, patience={patience}: expected rewinds * patience of at most '
                f'{MOST // 2:,}'
            )
        self.rewinds, self.patience = rewinds, patience
        self._images: deque[list[str]] = deque(maxlen=2 * patience if rewinds else 0)
        self._foreign: set[tuple[str, int]] = set()

    def begin(self, runner: Runner) -> None:
        """Notes the checkpoints of other runs in the work dir, before a run begins.

        Args:
            runner: The run.
        """
        there = candidates(runner.work_dir) if self.rewinds else []
        resumed = str(runner._load_from) if runner._resume else ''
        own = {str(Path(file).resolve()) for file in there}
        if str(Path(resumed).resolve()) not in own:
            self._foreign = set(map(_version, there))

    def note(self, batch: Any) -> None:
        """Remembers the images of a step.

        Args:
            batch: Its batch.
        """
        if self.rewinds:
            self._images.append(list(images_in(batch)))

    def take(self, runner: Any, in_a_row: int) -> str:
        """Goes back, if that is possible; all processes of the run have to ask.

        Args:
            runner: The run, after a bad step.
            in_a_row: Bad steps in a row.

        Returns:
            A sentence that says why it is not possible; '' if this is not asked for.

        Raises:
            RewindError: The loop goes back.
        """
        if not self.rewinds:
            return ''
        loop = runner.train_loop
        if not getattr(loop, 'is_exact', False) or not hasattr(runner, 'rewind'):
            return (
                'It cannot go back to a checkpoint, as it has another runner, loop or data loader '
                'than those that begin anywhere.'
            )
        done = len(loop.rewinds)
        if done >= self.rewinds:
            return f'It had already gone back {count_of(done, "time")} (rewinds={self.rewinds}).'
        batches = loop.latest(in_a_row + self.patience)
        after = runner.iter + 1
        found = checkpoint_to_rewind_to(
            runner.work_dir,
            best=after - len(batches),
            latest=after - in_a_row,
            rewinds=loop.rewinds,
            is_own=lambda file: _version(file) not in self._foreign,
            logger=runner.logger,
        )
        if found is None:
            return (
                'It cannot go back: none of its checkpoints in the work dir is whole and from '
                f'before step {after - in_a_row + 1}.'
            )
        file, steps = found
        left_out = batches[max(steps - (after - len(batches)), 0) :]
        self._tell(runner, file, steps, after - len(left_out), self.rewinds - done - 1)
        self._images.clear()
        raise RewindError(file, Rewind(steps, tuple(left_out)))

    def _tell(self, runner: Runner, file: str, steps: int, before: int, still: int) -> None:
        shared = all_gather_object(list(self._images)[before - runner.iter - 1 :])
        names = [name for images in shared for batch in images for name in batch]
        more = f' and {len(names) - NAMED} more, which the log lists' if len(names) > NAMED else ''
        runner.logger.warning(
            f'The run goes back to {from_here(file)} (after step {steps}), and leaves out the '
            f'batches of steps {before + 1} to {runner.iter + 1} from there on: '
            f'{"images " if names else "they name no images"}{", ".join(names[:NAMED])}{more}. '
            f'It may go back {count_of(still, "more time")} after that.'
        )
        if more:
            runner.logger.info(f'Images that are left out: {", ".join(names)}')


def _version(file: str) -> tuple[str, int]:
    """What tells a file from one that replaces it."""
    path = Path(file)
    return str(path.resolve()), path.stat().st_mtime_ns if path.is_file() else 0
