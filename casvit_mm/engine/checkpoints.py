"""Finds the latest and the best checkpoint of a run."""

import re
from pathlib import Path

NUMBERED = re.compile(r'(epoch|iter)_(\d+)\.pth')


def best_checkpoint(work_dir: str | Path) -> Path | None:
    """Finds the best checkpoint of a run, the newest if there are several.

    Args:
        work_dir: Folder of the run.

    Returns:
        The file; None if there is none.
    """
    found = Path(work_dir).glob('best_*.pth')
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def noted_checkpoint(work_dir: str | Path) -> str:
    """The checkpoint that a run noted as its last, as it was named; '' if there is no note."""
    try:
        return Path(work_dir, 'last_checkpoint').read_text(encoding='utf-8').strip()
    except (OSError, UnicodeDecodeError):
        return ''


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Finds the checkpoint to resume a run from.

    Args:
        work_dir: Folder of the run.

    Returns:
        The file that ``last_checkpoint`` names, in this folder or where it was written, or a newer
        one of the same run; if there is no ``last_checkpoint``, the newest of ``epoch_N.pth`` and
        ``iter_N.pth``; None if there is none.
    """
    folder = Path(work_dir)
    named = noted_checkpoint(folder)
    if '://' in named:
        return named
    places = (folder / Path(named).name, Path(named)) if named else ()
    noted = next((path for path in places if path.is_file()), None)
    found = [path for path in folder.glob('*.pth') if NUMBERED.fullmatch(path.name)]
    if noted is not None:
        found = [noted, *(path for path in found if _comes_after(path, noted))]
    return str(max(found, key=_age_and_number)) if found else None


def _age_and_number(path: Path) -> tuple[int, int]:
    number = NUMBERED.fullmatch(path.name)
    return path.stat().st_mtime_ns, int(number[2]) if number else -1


def _comes_after(path: Path, noted: Path) -> bool:
    """Whether a file is from a later step of the same run: earlier runs may have left files."""
    pairs = zip(_age_and_number(path), _age_and_number(noted), strict=True)
    return all(mine > other for mine, other in pairs)
