"""The checkpoints that a run leaves in its folder: the latest, and the best."""

import re
from pathlib import Path

NUMBERED = re.compile(r'(epoch|iter)_(\d+)\.pth')


def best_checkpoint(work_dir: str | Path) -> Path | None:
    """The best checkpoint of a run, the newest if there are several.

    Args:
        work_dir: Folder of the run.

    Returns:
        The file; None if there is none.
    """
    found = Path(work_dir).glob('best_*.pth')
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint that a run continues from.

    Args:
        work_dir: Folder of the run.

    Returns:
        The file that ``last_checkpoint`` names, in this folder or where it was written, or one that
        the run finished after it noted that; without such a note the newest of ``epoch_N.pth`` and
        ``iter_N.pth``; None if there is none.
    """
    folder = Path(work_dir)
    try:
        named = (folder / 'last_checkpoint').read_text(encoding='utf-8').strip()
    except (OSError, UnicodeDecodeError):
        named = ''
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
    """Whether a file is of a later step of the same run: files of an earlier run may lie there."""
    pairs = zip(_age_and_number(path), _age_and_number(noted), strict=True)
    return all(mine > other for mine, other in pairs)
