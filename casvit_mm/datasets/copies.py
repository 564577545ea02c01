"""Writing a changed copy of a data set: whole or not at all, the original untouched."""

import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from casvit_mm.datasets.errors import DatasetError

CHANGES = 'changes.txt'
JPEG_QUALITY = 95


def write_copy(out: Path, write: Callable[[Path], list[str]]) -> list[str]:
    """Writes a folder that appears complete or not at all.

    Args:
        out: A new or empty folder.
        write: Fills a folder, and says what it changed.

    Returns:
        The changes, which are also in ``changes.txt`` there.

    Raises:
        DatasetError: ``out`` holds something, or cannot be written.
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f'{out} is there already: name a new or empty folder for the copy.')
    scratch = out.with_name(f'.{out.name}-being-written')
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        changes = write(scratch)
        text = '\n'.join(changes or ['Nothing was wrong.']) + '\n'
        (scratch / CHANGES).write_text(text, encoding='utf-8')
        if out.exists():
            out.rmdir()
        scratch.rename(out)
    except OSError as error:
        raise DatasetError(f'The copy cannot be written to {out}: {error}.') from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return changes


def copy_upright(source: Path, target: Path) -> None:
    """Copies a picture, turned as its EXIF orientation says and without that tag.

    Args:
        source: The picture.
        target: Where to; the ending tells the format.
    """
    with Image.open(source) as picture:
        _save(ImageOps.exif_transpose(picture), target)


def copy_as_stored(source: Path, target: Path) -> None:
    """Copies a picture as its pixels are stored, without an EXIF orientation that turns it."""
    with Image.open(source) as picture:
        picture.load()
        picture.getexif().pop(ExifTags.Base.Orientation, None)
        _save(picture, target)


def free_name(name: str, taken: set[str]) -> str:
    """A file name that no other file of a folder has, without folders above it.

    Args:
        name: The wanted name; ``/`` separates folders.
        taken: The names that are in use, to which the answer is added.
    """
    parts = [part for part in Path(name).parts if part not in ('..', '.', '/', Path(name).anchor)]
    wanted = Path(*parts) if parts else Path('picture')
    free, number = wanted, 1
    while free.as_posix().lower() in taken:
        number += 1
        free = wanted.with_name(f'{wanted.stem}-{number}{wanted.suffix}')
    taken.add(free.as_posix().lower())
    return free.as_posix()


def _save(picture: Image.Image, target: Path) -> None:
    # Without the tag the rest of EXIF is of no use to a training, and may name people and places.
    picture.info.pop('exif', None)
    options = dict(quality=JPEG_QUALITY) if target.suffix.lower() in ('.jpg', '.jpeg') else {}
    picture.save(target, exif=b'', **options)
