"""Files of semantic masks, decoded as a run decodes them, in strips of bounded size.

mmseg's ``LoadAnnotations`` decodes masks with Pillow unless its ``imdecode_backend`` says
otherwise, and keeps 8 bits. A mask is decoded as it is stored: one byte per pixel as a rule. All
further work goes strip by strip, so that a mask of 13,000 x 13,000 pixels takes 170 MB and not
gigabytes.
"""

import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from casvit.tables import IGNORE_INDEX

INDEX_MODES = ('1', 'L', 'P', 'I', 'I;16', 'I;16B', 'I;16L')
# Modes with further channels, which may repeat the first: then it holds class indices.
GREY_MODES = ('LA', 'RGB', 'RGBA', 'RGBX')
STRIP = 1 << 20
# More distinct values or colours than this in one file are not classes.
MOST_VALUES = 1 << 16
# Fewer values than this are not searched for noise, and larger masks neither: noise is everywhere.
FEW_VALUES = 8
NOISE_PIXELS = 1 << 24
NOISE_SHARE = 0.35

Colour = tuple[int, int, int]
Legend = Mapping[Colour, int]


class UnreadableMaskError(Exception):
    """A semantic mask cannot be read; the message is the reason, without a subject."""


class ColourMaskError(UnreadableMaskError):
    """A semantic mask holds colours, and there is no legend for them."""


@dataclass(frozen=True)
class MaskHeader:
    """What the header of a semantic mask says.

    Attributes:
        size: Width and height in pixels.
        mode: Pillow's mode.
        lossy: Display name of its format if that is lossy; empty otherwise.
    """

    size: tuple[int, int]
    mode: str
    lossy: str = ''

    @property
    def one_channel(self) -> bool:
        """Whether a run can read it: it has one channel of integers."""
        return self.mode in INDEX_MODES


@dataclass(frozen=True)
class MaskContent:
    """What a semantic mask holds.

    Attributes:
        header: Its header.
        counts: Number of pixels by stored value; by class index if there is a legend.
        unknown: Colours that the legend does not list, with their numbers of pixels, the most
            frequent first; None without a legend.
        noisy: Whether most of its values occur only along edges, as lossy compression and resizing
            with interpolation leave them.
    """

    header: MaskHeader
    counts: dict[int, int]
    unknown: list[tuple[Colour, int]] | None = None
    noisy: bool = False

    @property
    def lossy(self) -> bool:
        """Whether some of the values are noise."""
        return bool(self.header.lossy) or self.noisy


def mask_header(path: str | Path) -> MaskHeader:
    """Reads the header of a semantic mask.

    Raises:
        UnreadableMaskError: The file is missing, damaged, not an image, or not a regular file.
    """
    with _opened(path) as image:
        return _header(image, path)


def mask_content(
    path: str | Path, legend: Legend | None = None, backend: str = 'pillow', *, noise: bool = False
) -> MaskContent:
    """Counts the values in a semantic mask.

    Args:
        path: The file.
        legend: Class index of each RGB colour; None for masks of class indices.
        backend: The ``imdecode_backend`` of the run.
        noise: Whether to look for noise.

    Raises:
        UnreadableMaskError: The file cannot be read.
        ColourMaskError: The mask holds colours, and there is no legend.
    """
    counts: Counter[int] = Counter()
    unknown: Counter[int] = Counter()
    codes, classes = _codes(legend or {})
    with _decoded(path, backend) as (header, strips):
        if legend is not None:
            for strip in strips('RGB'):
                labels, others = _labels(strip, codes, classes)
                _count(labels, counts)
                if len(unknown) < MOST_VALUES:
                    _count(others, unknown)
            found = [(_colour(code), number) for code, number in unknown.most_common()]
            return MaskContent(header, dict(counts), found)
        for strip in strips(''):
            _count(_indices(strip, header), counts)
            if len(counts) > MOST_VALUES:
                raise UnreadableMaskError(
                    f'holds more than {MOST_VALUES:,} values: these are not class indices'
                )
        width, height = header.size
        looked = noise and len(counts) >= FEW_VALUES and width * height <= NOISE_PIXELS
        noisy = looked and _is_noisy((_indices(s, header) for s in strips('')), counts)
    return MaskContent(header, dict(counts), None, noisy)


def mask_labels(path: str | Path, legend: Legend | None = None) -> np.ndarray:
    """Reads a semantic mask.

    Args:
        path: The file.
        legend: Class index of each RGB colour; None for masks of class indices.

    Returns:
        The stored values, or the class indices of the legend with 255 for other colours. Shape:
        ``(H, W)``, of the smallest type that the file needs: uint8 as a rule.

    Raises:
        UnreadableMaskError: The file cannot be read.
        ColourMaskError: The mask holds colours, and there is no legend.
    """
    codes, classes = _codes(legend or {})
    labels: np.ndarray | None = None
    top = 0
    with _decoded(path, 'pillow') as (header, strips):
        width, height = header.size
        for strip in strips('' if legend is None else 'RGB'):
            part = _indices(strip, header) if legend is None else _labels(strip, codes, classes)[0]
            if labels is None:
                labels = np.empty((height, width), part.dtype)
            labels[top : top + len(part)] = part
            top += len(part)
    return np.zeros((height, width), np.uint8) if labels is None else labels


def mask_colours(path: str | Path, most: int = 1024) -> set[Colour]:
    """The RGB colours of the pixels of a mask, as displayed; at most some.

    Raises:
        UnreadableMaskError: The file cannot be read.
    """
    found: set[int] = set()
    with _decoded(path, 'pillow') as (_, strips):
        for strip in strips('RGB'):
            found.update(np.unique(_coded(strip)).tolist())
            if len(found) > most:
                break
    return {_colour(code) for code in found}


def shown_as(path: str | Path) -> dict[int, Colour]:
    """The RGB colour in which each value of a mask of one channel is displayed.

    Raises:
        UnreadableMaskError: The file cannot be read.
    """
    values = mask_content(path).counts
    with _opened(path) as image:
        if image.mode == 'P':
            flat = image.getpalette('RGB') or []
            colours = dict(enumerate(zip(flat[::3], flat[1::3], flat[2::3], strict=True)))
            return {value: colours.get(value, (0, 0, 0)) for value in values}
        factor = 255 if image.mode == '1' else 1
    return {value: (value * factor, value * factor, value * factor) for value in values}


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Opens an image; whatever goes wrong inside becomes an UnreadableMaskError."""
    try:
        # Opening a pipe or a device would wait, or never end.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise UnreadableMaskError('is not a regular file')
        with Image.open(path) as image:
            yield image
    except UnreadableMaskError:
        raise
    except FileNotFoundError as error:
        raise UnreadableMaskError('does not exist') from error
    except UnidentifiedImageError as error:
        raise UnreadableMaskError('is not an image') from error
    except Image.DecompressionBombError as error:
        raise UnreadableMaskError(f'is too large for a run to read: {error}') from error
    except (MemoryError, ValueError) as error:
        # No file system allows a null character in a name.
        raise UnreadableMaskError(f'cannot be read: {error or "not enough memory"}') from error
    except Exception as error:
        # Pillow's parsers raise all kinds of exceptions for a damaged file.
        raise UnreadableMaskError(f'cannot be read: {error}') from error


@contextmanager
def _decoded(
    path: str | Path, backend: str
) -> Iterator[tuple[MaskHeader, Callable[[str], Iterator[np.ndarray]]]]:
    """Decodes a mask; gives its header, and a function that yields its strips in a mode."""
    with _opened(path) as image:
        header = _header(image, path)
        if backend == 'pillow':
            image.load()
            yield header, lambda mode: _strips(image, mode)
            return
        array = _decode(path, backend)
        if array is None:
            raise UnreadableMaskError(
                f'is a {image.format} image, which imdecode_backend={backend!r} of LoadAnnotations '
                'cannot decode'
            )
        rows = _rows(array.shape[1])
        yield (
            header,
            lambda _: (array[top : top + rows] for top in range(0, len(array), rows)),
        )


def _decode(path: str | Path, backend: str) -> np.ndarray | None:
    import mmcv

    array = mmcv.imfrombytes(Path(path).read_bytes(), flag='unchanged', backend=backend)
    return None if array is None or array.ndim < 2 else array


def _rows(width: int) -> int:
    return max(1, STRIP // max(1, width))


def _strips(image: Image.Image, mode: str) -> Iterator[np.ndarray]:
    """Yields the rows of a decoded image in strips, each converted to a mode if one is given."""
    width, height = image.size
    rows = _rows(width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows)))
        yield np.asarray(strip.convert(mode) if mode else strip)


def _header(image: Image.Image, path: str | Path) -> MaskHeader:
    return MaskHeader(image.size, image.mode, _lossy_format(image, path))


def _lossy_format(image: Image.Image, path: str | Path) -> str:
    if image.format in ('JPEG', 'MPO'):
        return 'JPEG'
    if image.format == 'TIFF' and image.info.get('compression') == 'jpeg':
        return 'TIFF with JPEG compression'
    if image.format == 'WEBP':
        with Path(path).open('rb') as file:
            # The chunk of lossless images is VP8L.
            return 'lossy WebP' if b'VP8 ' in file.read(4096) else ''
    return 'AVIF' if image.format == 'AVIF' else ''


def _indices(strip: np.ndarray, header: MaskHeader) -> np.ndarray:
    """The values of a strip, which may repeat them in several channels."""
    if strip.dtype == bool:
        # Pillow gives 255 for true.
        return (strip.view(np.uint8) > 0).view(np.uint8)
    if strip.ndim == 3:
        first = strip[..., 0]
        if header.mode not in (*GREY_MODES, *INDEX_MODES):
            raise ColourMaskError(f'is a colour image (mode {header.mode})')
        # A fourth channel, or a second of two, is transparency.
        others = strip[..., 1:3] if strip.shape[2] > 2 else strip[..., :0]
        if (others != first[..., None]).any():
            raise ColourMaskError(f'is a colour image (mode {header.mode})')
        return first
    if strip.dtype.kind == 'f':
        with np.errstate(invalid='ignore'):
            whole = strip.astype(np.int64)
        if not (whole == strip).all():
            raise UnreadableMaskError('holds fractions, not class indices')
        return whole
    return strip


def _count(values: np.ndarray, counts: Counter[int]) -> None:
    """Adds the number of pixels of each value."""
    if values.dtype in (np.uint8, np.uint16):
        numbers = np.bincount(values.ravel())
        found = np.flatnonzero(numbers)
        numbers = numbers[found]
    else:
        found, numbers = np.unique(values, return_counts=True)
    for value, number in zip(found.tolist(), numbers.tolist(), strict=True):
        counts[value] += number


def _codes(legend: Legend) -> tuple[np.ndarray, np.ndarray]:
    """The colours of a legend as sorted numbers, and their class indices."""
    codes = np.array([r << 16 | g << 8 | b for r, g, b in legend], np.uint32)
    order = np.argsort(codes)
    highest = max(legend.values(), default=0)
    kind: Any = np.uint8 if highest <= IGNORE_INDEX else np.uint16
    return codes[order], np.array(list(legend.values()), kind)[order]


def _coded(strip: np.ndarray) -> np.ndarray:
    red, green, blue = (strip[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _labels(
    strip: np.ndarray, codes: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Class indices of an RGB strip, 255 for unknown colours; and the numbers of those."""
    coded = _coded(strip)
    if not len(codes):
        return np.full(coded.shape, IGNORE_INDEX, np.uint8), coded.ravel()
    place = np.searchsorted(codes, coded).clip(max=len(codes) - 1)
    fits = codes[place] == coded
    return np.where(fits, classes[place], IGNORE_INDEX).astype(classes.dtype), coded[~fits]


def _colour(code: int) -> Colour:
    return code >> 16, code >> 8 & 255, code & 255


def _is_noisy(strips: Iterator[np.ndarray], counts: Mapping[int, int]) -> bool:
    """Whether most values hardly ever fill a square of 2 x 2 pixels, as areas of a class do."""
    solid: Counter[int] = Counter()
    for strip in strips:
        corner = strip[:-1, :-1]
        same = (corner == strip[:-1, 1:]) & (corner == strip[1:, :-1]) & (corner == strip[1:, 1:])
        _count(corner[same], solid)
    at_edges = [value for value, number in counts.items() if solid[value] < NOISE_SHARE * number]
    return len(at_edges) >= max(FEW_VALUES, len(counts) // 2)
