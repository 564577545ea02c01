"""Chooses the checkpoint that a run is resumed from: the newest one that is whole."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from logging import Logger
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dist import broadcast_object_list, is_main_process

from casvit.errors import CheckpointError, DamagedCheckpointError
from casvit_mm.engine.checkpoints import RECENT, candidates, noted_checkpoint, traces_of_run
from casvit_mm.engine.exact.rewinds import STATE, Rewind, is_behind
from casvit_mm.models.checkpoint import read_checkpoint

Read = Callable[[str], dict[str, Any]]


class _Choice(NamedTuple):
    """What the first process found, for all of them.

    Attributes:
        file: The checkpoint; '' if there is none, and no run either.
        skipped: A sentence about each newer one that is damaged.
        error: Why the run cannot be resumed; '' if it can.
    """

    file: str
    skipped: tuple[str, ...] = ()
    error: str = ''


def checkpoint_to_resume(
    work_dir: str | Path,
    others: Iterable[str | Path],
    logger: Logger,
    read: Read = read_checkpoint,
) -> str | None:
    """Finds the newest checkpoint of a run that is whole.

    All processes of a run get the same one, which the first of them has read.

    Args:
        work_dir: Folder of the run.
        others: Further folders that the run writes checkpoints into.
        logger: Gets a warning for each newer one that is damaged.
        read: Reads a checkpoint; it may keep the last one, which is nearly always the chosen one.

    Returns:
        The file; None if there is no sign of a run in the folder.

    Raises:
        CheckpointError: There was a run, but none of its checkpoints is whole; or the newest whole
            one holds what it must not.
    """
    shared: list[Any] = [_choose(work_dir, others, read) if is_main_process() else None]
    broadcast_object_list(shared)
    choice: _Choice = shared[0]
    for sentence in choice.skipped:
        logger.warning(sentence)
    if choice.error:
        raise CheckpointError(choice.error)
    return choice.file or None


def checkpoint_to_rewind_to(
    work_dir: str | Path,
    *,
    best: int,
    latest: int,
    rewinds: Sequence[Rewind],
    is_own: Callable[[str], bool],
    logger: Logger,
) -> tuple[str, int] | None:
    """Finds the checkpoint that a run goes back to.

    All processes of a run get the same one, which the first of them has read.

    Args:
        work_dir: Folder of the run.
        best: Steps behind the run in the checkpoint, at most.
        latest: The same, if there is no such checkpoint.
        rewinds: Returns of the run to earlier checkpoints, after which others are not its own.
        is_own: Whether a file is of this run.
        logger: Gets a warning for each file that is damaged.

    Returns:
        The newest such file that is whole, and the steps behind the run in it; None if there is
        none.
    """
    skipped: dict[str, str] = {}
    found: tuple[str, int] | None = None
    for file in filter(is_own, candidates(work_dir)) if is_main_process() else ():
        try:
            checkpoint = read_checkpoint(file)
        except DamagedCheckpointError as error:
            skipped[file] = error.reason
            continue
        steps, known = _progress(checkpoint)
        if steps <= latest and is_behind(rewinds, known, steps):
            found = (file, steps) if found is None or steps <= best else found
            if steps <= best:
                break
    shared: list[Any] = [found, skipped]
    broadcast_object_list(shared)
    for file, reason in shared[1].items():
        logger.warning(f'The checkpoint {file} is skipped ({reason}).')
    return shared[0]


def _progress(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Steps behind a run in a checkpoint, and how many of its returns the checkpoint knows."""
    meta, state = checkpoint.get('meta'), checkpoint.get(STATE)
    steps = meta.get('iter') if isinstance(meta, Mapping) else None
    known = state.get('rewinds') if isinstance(state, Mapping) else None
    return (
        steps if type(steps) is int else sys.maxsize,
        len(known) if isinstance(known, list) else 0,
    )


def _choose(work_dir: str | Path, others: Iterable[str | Path], read: Read) -> _Choice:
    skipped: dict[str, str] = {}
    whole = _whole(candidates(work_dir, others), skipped, read)
    try:
        file, done = next(whole, ('', 0))
        if Path(file).name == RECENT and noted_checkpoint(work_dir) != file:
            # Copying a folder changes the ages of its files; this one has no number to go by.
            other, more = next(whole, ('', -1))
            file = other if more > done else file
    except CheckpointError as error:
        return _Choice('', error=str(error))
    traces = traces_of_run(work_dir)
    if not file and (skipped or traces):
        reasons = [f'{Path(name).name}: {reason}' for name, reason in skipped.items()]
        why = f'none of its checkpoints is whole ({"; ".join(reasons)})'
        if not skipped:
            why = f'it holds {", ".join(traces[:3])}, but no checkpoint to resume from'
        return _Choice(
            '',
            error=f'The run in {work_dir} cannot be resumed: {why}. To start again, name another '
            '--work-dir, or remove these files.',
        )
    return _Choice(
        file,
        tuple(
            f'The checkpoint {name} is skipped ({reason}): the run continues from an older one.'
            for name, reason in skipped.items()
        ),
    )


def _whole(files: Iterable[str], skipped: dict[str, str], read: Read) -> Iterator[tuple[str, int]]:
    """Those that can be read, with their iterations; the others are noted with the reason."""
    for file in files:
        try:
            meta = read(file).get('meta')
        except DamagedCheckpointError as error:
            skipped[file] = error.reason
            continue
        done = meta.get('iter') if isinstance(meta, dict) else None
        yield file, done if isinstance(done, int) else 0
