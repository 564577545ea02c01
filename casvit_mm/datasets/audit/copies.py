"""Writing a changed copy of a dataset: whole or not at all, the original untouched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageOps

from casvit.errors import DatasetError
from casvit.files import written_whole
from casvit.names import printable
from casvit_mm.datasets.image_files import SAME_READER

CHANGES = 'changes.txt'
JPEG_QUALITY = 95
LOSSLESS_TIFF = ('tiff_lzw', 'tiff_adobe_deflate', 'tiff_deflate', 'packbits')
Turn = Image.Transpose
# What undoes the turn of an EXIF orientation.
TURNED_BACK = {
    **{2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM},
    **{5: Turn.TRANSPOSE, 6: Turn.ROTATE_90, 7: Turn.TRANSVERSE, 8: Turn.ROTATE_270},
}


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
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as folder:
            folder.mkdir()
            changes = write(folder)
            text = '\n'.join(map(printable, changes or ['Nothing was wrong.'])) + '\n'
            (folder / CHANGES).write_text(text, encoding='utf-8')
    except OSError as error:
        raise DatasetError(f'The copy cannot be written to {out}: {error}.') from error
    return changes


def copy_upright(source: Path, target: Path) -> None:
    """Copies an image, turned as its EXIF orientation says and without that tag.

    Args:
        source: The image.
        target: Where to; it gets the format of the source, whatever its ending.
    """
    with Image.open(source) as image:
        _save(ImageOps.exif_transpose(image), target, image)


def copy_as_stored(source: Path, target: Path) -> None:
    """Copies an image as its pixels are stored, without an EXIF orientation that turns it."""
    with Image.open(source) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        image.load()
        # Pillow turns TIFF files itself, and takes the tag away.
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != orientation
        stored = image.transpose(TURNED_BACK[orientation]) if turned else image.copy()
        _save(stored, target, image)


def free_name(name: str, taken: set[str]) -> str:
    """A file name that no other file of a folder has, without folders above it.

    Args:
        name: The wanted name; ``/`` separates folders.
        taken: The names that are in use, to which the answer is added.
    """
    parts = [part for part in Path(name).parts if part not in ('..', '.', '/', Path(name).anchor)]
    wanted = Path(*parts) if parts else Path('image')
    free, number = wanted, 1
    while free.as_posix().lower() in taken:
        number += 1
        free = wanted.with_name(f'{wanted.stem}-{number}{wanted.suffix}')
    taken.add(free.as_posix().lower())
    return free.as_posix()


def _save(image: Image.Image, target: Path, source: Image.Image) -> None:
    """Writes an image in the format of its source, as little changed as can be."""
    # Without the tag the rest of EXIF is of no use to a training, and may name people and places.
    for key in ('exif', 'xmp', 'XML:com.adobe.xmp', 'Raw profile type exif'):
        image.info.pop(key, None)
    kind = SAME_READER.get(source.format, source.format)
    options: dict[str, Any] = dict(JPEG=dict(quality=JPEG_QUALITY), WEBP=dict(lossless=True)).get(
        kind, {}
    )
    if kind == 'TIFF' and source.info.get('compression') in LOSSLESS_TIFF:
        options = dict(compression=source.info['compression'])
    image.save(target, kind, exif=b'', **options)
