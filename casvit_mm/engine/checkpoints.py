"""Finds the checkpoints of a run, by their names alone, and notes the last one."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from casvit.files import is_file, write_whole

NUMBERED = re.compile(r'(epoch|iter)_(\d+)\.pth')
RECENT = 'recent.pth'
"""The checkpoint between the regular ones; each replaces the one before."""
NOTE = 'last_checkpoint'
"""The file that names the last checkpoint of a run."""


def best_checkpoint(work_dir: str | Path) -> Path | None:
    """Finds the best checkpoint of a run, the newest if there are several.

    Args:
        work_dir: Folder of the run.

    Returns:
        The file; None if there is none.
    """
    found = Path(work_dir).glob('best_*.pth')
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def note_checkpoint(work_dir: str | Path, checkpoint: str) -> None:
    """Notes the last checkpoint of a run, such that the note stays right if the folder moves.

    Args:
        work_dir: Folder of the run.
        checkpoint: The file, in any folder, or a remote address.

    Raises:
        OSError: The note cannot be written; the previous one is kept.
    """
    write_whole(Path(work_dir, NOTE), _from(Path(work_dir), checkpoint))


def _from(folder: Path, checkpoint: str) -> str:
    if '://' in checkpoint:
        return checkpoint
    try:
        # Of the real folders: a link to one may be anywhere.
        return os.path.relpath(os.path.realpath(checkpoint), os.path.realpath(folder))
    except ValueError:
        # On another drive of Windows.
        return str(Path(checkpoint).resolve())


def noted_checkpoint(work_dir: str | Path) -> str:
    """The checkpoint that a run noted as its last; '' if there is no note, or no such file.

    Args:
        work_dir: Folder of the run. Files in it come first: it may have been copied.
    """
    folder = Path(work_dir)
    try:
        named = (folder / NOTE).read_text(encoding='utf-8').strip()
    except (OSError, UnicodeDecodeError):
        return ''
    if '://' in named or not named:
        return named
    # Others than note_checkpoint write the path from the folder that they run in.
    places = (folder / Path(named).name, folder / named, Path(named))
    return next((str(path) for path in places if is_file(path)), '')


def candidates(work_dir: str | Path, others: Iterable[str | Path] = ()) -> list[str]:
    """Lists the checkpoints that a run may be resumed from.

    Args:
        work_dir: Folder of the run.
        others: Further folders that the run writes checkpoints into.

    Returns:
        The files, newest first: the one that ``last_checkpoint`` names, in this folder or where it
        was written, behind newer ones of the same run; then the other ``epoch_N.pth``,
        ``iter_N.pth`` and ``recent.pth``, by their age.
    """
    noted = noted_checkpoint(work_dir)
    if '://' in noted:
        return [noted]
    folders = [Path(work_dir), *map(Path, others), *([Path(noted).parent] if noted else [])]
    found = {
        path.resolve(): path
        for folder in reversed(folders)
        for path in folder.glob('*.pth')
        if NUMBERED.fullmatch(path.name) or path == Path(work_dir, RECENT)
        if is_file(path)
    }
    if not noted:
        return list(map(str, sorted(found.values(), key=_age_and_number, reverse=True)))
    last = found.pop(Path(noted).resolve(), Path(noted))
    ordered = sorted(found.values(), key=_age_and_number, reverse=True)
    later = [path for path in ordered if _comes_after(path, last)]
    return list(map(str, [*later, last, *(path for path in ordered if path not in later)]))


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """The newest of :func:`candidates`; None if there is none. Whether it is whole is not known.

    Args:
        work_dir: Folder of the run.
    """
    return next(iter(candidates(work_dir)), None)


def traces_of_run(work_dir: str | Path) -> list[str]:
    """The names of files which show that a run has saved checkpoints into a folder, in order.

    Args:
        work_dir: The folder.
    """
    folder = Path(work_dir)
    names = sorted(
        (path for path in folder.glob('*.pth') if NUMBERED.fullmatch(path.name)),
        key=lambda path: int(path.stem.rpartition('_')[2]),
    )
    others = [*sorted(folder.glob('best_*.pth')), folder / RECENT, folder / NOTE]
    return [path.name for path in [*names, *others] if path.exists()]


def _age_and_number(path: Path) -> tuple[int, int]:
    number = NUMBERED.fullmatch(path.name)
    return path.stat().st_mtime_ns, int(number[2]) if number else -1


def _comes_after(path: Path, noted: Path) -> bool:
    """Whether a file is from a later step of the same run: earlier runs may have left files."""
    (age, number), (age_of_noted, number_of_noted) = map(_age_and_number, (path, noted))
    return age > age_of_noted and (path.name == RECENT or number > number_of_noted)
