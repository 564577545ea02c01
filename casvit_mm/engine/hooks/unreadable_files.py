"""Continues training if a few files cannot be read, and stops it if there are many."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from casvit.errors import DatasetError
from casvit.sentences import count_of
from casvit_mm.datasets.build import built_leaves
from casvit_mm.datasets.shards.sources import StorageError
from casvit_mm.registration import registered_in

RECORD = 'unreadable.txt'
LISTED = 20
UNREADABLE = (OSError, SyntaxError, ValueError, AssertionError, EOFError, cv2.error)

Step = Callable[[dict[str, Any]], dict[str, Any] | None]
"""A step of a pipeline; it returns None for a sample to skip."""


class SkipUnreadable:
    """A loading step of a pipeline that skips samples whose file cannot be read.

    mmengine's datasets replace a skipped sample by another one. Worker processes cannot report
    skipped files to the main process, so each appends them to one file.

    Args:
        step: The step; it reads the file that ``results[key]`` names.
        key: ``img_path`` or ``seg_map_path``.
        record: The file to append to.
        limit: Number of files above which the run stops.
    """

    def __init__(self, step: Step, key: str, record: Path, limit: int) -> None:
        self.step, self.key, self.record, self.limit = step, key, record, limit
        self.seen: dict[str, str] = {}

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Runs the step; returns None if the file cannot be read."""
        # A step that fails leaves its input half changed.
        path = str(results.get(self.key))
        try:
            return self.step(results)
        except StorageError:
            # Another file would fail as well, or be there again in the next try.
            raise
        except UNREADABLE as error:
            if path not in self.seen:
                reason = ' '.join(str(error).split())[:200] or type(error).__name__
                self.seen[path] = reason
                # On a full disk it is skipped all the same.
                with suppress(OSError), self.record.open('a', encoding='utf-8') as file:
                    file.write(f'{path}\t{reason}\n')
            # If nothing can be read, no batch ever reaches the hook.
            if len(self.seen) > self.limit:
                raise too_many(self.seen, self.limit) from error
            return None

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.step!r})'


@registered_in(HOOKS)
class UnreadableFilesHook(Hook):
    """Skips images and semantic masks that cannot be read in training, and logs them.

    Each file is logged once. Validation and testing skip nothing.

    Args:
        max_share (float): Share of the training images above which the run stops and lists them.
            Defaults to 0.01.
    """

    # After hooks that switch to another pipeline for the last epochs.
    priority = 'BELOW_NORMAL'

    def __init__(self, max_share: float = 0.01) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError(f'max_share has to be between 0 and 1, not {max_share}')
        self.max_share = max_share
        self.seen: dict[str, str] = {}

    def before_train(self, runner: Runner) -> None:
        """Computes how many files may be skipped."""
        self.record = Path(runner.log_dir) / RECORD
        self.read = 0
        leaves = built_leaves(runner.train_dataloader.dataset)
        self.limit = int(self.max_share * sum(map(len, leaves)))

    def before_train_epoch(self, runner: Runner) -> None:
        """Wraps the loading steps of the training pipeline."""
        for leaf in built_leaves(runner.train_dataloader.dataset):
            # mmengine and mmcv each have a class for a list of steps, and hooks use both.
            pipeline: Any = getattr(leaf, 'pipeline', None)
            steps = getattr(pipeline, 'transforms', None)
            if isinstance(steps, list):
                pipeline.transforms = [self._wrapped(step) for step in steps]
        self._restart_processes(runner)

    def _restart_processes(self, runner: Runner) -> None:
        """Restarts worker processes that already load data without the wrapped steps.

        This happens in iteration-based loops of mmengine versions that start loading early.
        """
        loader = runner.train_dataloader
        loop_iterator: Any = getattr(runner.train_loop, 'dataloader_iterator', None)
        running = getattr(loop_iterator, '_iterator', None)
        if running is None or not loader.num_workers:
            return
        # Kept alive: its end would also end the sampler, which is still in use.
        self._replaced = running
        loader._iterator = None
        loop_iterator._iterator = iter(loader)
        running._shutdown_workers()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> None:
        """Logs newly skipped files, and stops the run if there are too many."""
        for path, reason in self._news():
            self.seen[path] = reason
            so_far = f'{count_of(len(self.seen), "file")} so far; above {self.limit} the run stops'
            runner.logger.warning(f'Skipped {path}, which cannot be read: {reason} ({so_far}).')
        if len(self.seen) > self.limit:
            raise too_many(self.seen, self.limit)

    def after_train(self, runner: Runner) -> None:
        """Logs how many files were skipped in total."""
        if self.seen:
            files = count_of(len(self.seen), 'file')
            runner.logger.warning(f'{files} could not be read and were skipped: {self.record}')

    def _wrapped(self, step: Step) -> Step:
        for kind, key in ((LoadImageFromFile, 'img_path'), (LoadAnnotations, 'seg_map_path')):
            if isinstance(step, kind) and (key == 'img_path' or getattr(step, 'with_seg', True)):
                return SkipUnreadable(step, key, self.record, self.limit)
        return step

    def _news(self) -> Iterator[tuple[str, str]]:
        """Yields what was appended to the record since the last call."""
        try:
            if self.record.stat().st_size <= self.read:
                return
        except FileNotFoundError:
            return
        with self.record.open('rb') as file:
            file.seek(self.read)
            added = file.read()
        # A line that another process is still writing is left for the next call.
        complete = added[: added.rfind(b'\n') + 1]
        self.read += len(complete)
        for line in complete.decode('utf-8').splitlines():
            path, _, reason = line.partition('\t')
            if path not in self.seen:
                yield path, reason


def too_many(seen: dict[str, str], limit: int) -> DatasetError:
    """The error for more unreadable files than a run may skip."""
    listed = [f'{path}: {reason}' for path, reason in list(seen.items())[:LISTED]]
    if len(seen) > LISTED:
        listed.append(f'and {len(seen) - LISTED} more')
    allowed = f'more than the {limit} that may be skipped' if limit else 'and none may be skipped'
    return DatasetError(
        f'{count_of(len(seen), "file")} of the training data cannot be read, {allowed} '
        '(max_share of UnreadableFilesHook in custom_hooks):\n  ' + '\n  '.join(listed)
    )
