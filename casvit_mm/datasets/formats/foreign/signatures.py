"""Recognises the formats of other tools by the names and the first bytes of their files.

Every signature is something that only one format has: no name is better than a wrong one.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from casvit_mm.datasets.formats.folders import Folder

SNIFFED = 65536
# Of many files with a suffix in a folder, the first few are looked at: they have one per image.
MANY, LOOKED_AT = 50, 3
# Whether a file is in a format, by its path and its first bytes.
Matches = Callable[[Path, bytes], bool]
PICKLE = re.compile(rb'\x80[\x02-\x05]')


@dataclass(frozen=True)
class Signature:
    """How a format is recognised.

    Attributes:
        name: Display name of the format.
        plugin: Name of the reader in datumaro; '' if the format is not read.
        suffixes: Suffixes of its files; empty for any.
        matches: Whether a file with such a suffix is in the format, by its path and first bytes.
    """

    name: str
    plugin: str
    suffixes: tuple[str, ...]
    matches: Matches


@dataclass(frozen=True)
class Recognised:
    """A format that was recognised.

    Attributes:
        signature: Its signature.
        files: The files that have it.
    """

    signature: Signature
    files: list[Path]


def recognise(listing: Iterable[Folder]) -> str:
    """Names the format of a dataset, without the library that reads it.

    Args:
        listing: The folders of the dataset.

    Returns:
        Display name of the format, several joined by 'and'; '' if it is not certain.
    """
    return ' and '.join(found.signature.name for found in find(listing))


def find(listing: Iterable[Folder]) -> list[Recognised]:
    """Finds the files of all formats that are recognised, in the order of :data:`SIGNATURES`."""
    found: dict[Signature, list[Path]] = {}
    for folder in listing:
        for paths in _by_suffix(folder):
            some = paths if len(paths) <= MANY else paths[:LOOKED_AT]
            matched = [(path, signature) for path in some if (signature := _signature(path))]
            if matched:
                rest = paths[len(some) :]
                matched += [(path, signature) for path in rest if (signature := _signature(path))]
            for path, signature in matched:
                found.setdefault(signature, []).append(path)
    return [
        Recognised(signature, found[signature]) for signature in SIGNATURES if signature in found
    ]


def _by_suffix(folder: Folder) -> Iterable[list[Path]]:
    """The files of a folder that may have a signature, in groups of the same suffix."""
    kinds: dict[str, list[Path]] = {}
    for name in folder.names:
        suffix = Path(name).suffix.lower()
        if suffix in SUFFIXES or ODD_NAME.fullmatch(name):
            kinds.setdefault(suffix, []).append(folder.path / name)
    return kinds.values()


def _signature(path: Path) -> Signature | None:
    """The signature of a file; None if it has none."""
    start = _start(path)
    for signature in SIGNATURES:
        possible = not signature.suffixes or path.suffix.lower() in signature.suffixes
        if possible and signature.matches(path, start):
            return signature
    return None


def _start(path: Path) -> bytes:
    """The first bytes of a regular file, without those that UTF-16 puts between letters."""
    if not path.is_file():
        return b''
    try:
        with path.open('rb') as file:
            start = file.read(SNIFFED)
    except OSError:
        return b''
    return start if PICKLE.match(start) else start.replace(b'\0', b'')


def _keys(*names: str, one_of: Iterable[str] = ()) -> Matches:
    """Matches JSON text with all of some keys, and with one of others."""
    needed = [_key(name) for name in names]
    either = [_key(name) for name in one_of]

    def matches(_: Path, start: bytes) -> bool:
        return all(key.search(start) for key in needed) and (
            not either or any(key.search(start) for key in either)
        )

    return matches


def _key(name: str) -> re.Pattern[bytes]:
    return re.compile(rf'"{name}"\s*:'.encode())


def _root(tag: str, *inner: str) -> Matches:
    """Matches XML text with a root element and all of some elements in it."""
    # Each part ends at one place only, so that no text makes the search slow.
    before = r'(?:\s|<\?[^>]*>|<![^-][^>]*>|<!--(?:(?!-->).)*-->)*'
    opening = re.compile(rf'{before}<{tag}[\s>]'.encode(), re.DOTALL)
    elements = [re.compile(rf'<({name})[\s>/]'.encode()) for name in inner]

    def matches(_: Path, start: bytes) -> bool:
        text = start.removeprefix(b'\xef\xbb\xbf').removeprefix(b'\xff\xfe')
        return bool(opening.match(text)) and all(e.search(text) for e in elements)

    return matches


def _columns(*names: str) -> Matches:
    """Matches CSV text with all of some columns in its first line."""

    def matches(_: Path, start: bytes) -> bool:
        first = start.split(b'\n', 1)[0].decode('utf-8', 'ignore')
        return set(names) <= {cell.strip('\ufeff#"\' \r') for cell in re.split('[,;\t]', first)}

    return matches


def _is_cvat(path: Path, start: bytes) -> bool:
    return _root('annotations', 'meta', 'image|job|task|project')(path, start)


def _is_cvat_video(path: Path, start: bytes) -> bool:
    frames = b'<mode>interpolation</mode>' in start or re.search(rb'<track\s', start)
    return bool(frames) and _is_cvat(path, start)


def _is_via(path: Path, start: bytes) -> bool:
    return _keys('_via_img_metadata')(path, start) or _keys('shape_attributes', 'regions')(
        path, start
    )


def _is_datumaro(path: Path, start: bytes) -> bool:
    return _keys('dm_format_version')(path, start) or _keys('infos', 'categories', 'items')(
        path, start
    )


def _is_vott_csv(path: Path, start: bytes) -> bool:
    columns = _columns('image', 'xmin', 'ymin', 'xmax', 'ymax', 'label')
    return path.name.endswith('-export.csv') and columns(path, start)


def _is_supervisely(path: Path, start: bytes) -> bool:
    keys = _keys('objects', 'size', 'height', 'width')
    return path.parent.name == 'ann' and keys(path, start)


def _is_kitti(path: Path, start: bytes) -> bool:
    """Lines of a class and 14 or 15 numbers, in the folder that KITTI has for them."""
    lines = [line.split() for line in start.split(b'\n')[:3] if line.strip()]
    return path.parent.name == 'label_2' and all(
        len(line) in (15, 16) and _all_numbers(line[1:]) for line in lines
    )


def _is_mot(path: Path, start: bytes) -> bool:
    """Lines of at least seven numbers in ``gt/gt.txt``."""
    lines = [line.split(b',') for line in start.split(b'\n')[:3] if line.strip()]
    return (path.parent.name, path.name) == ('gt', 'gt.txt') and all(
        len(line) >= 7 and _all_numbers(line) for line in lines
    )


def _is_dota(path: Path, start: bytes) -> bool:
    """Lines of eight coordinates, a class and a number, in the folder that DOTA has for them."""
    lines = [line.split() for line in start.split(b'\n')[:5] if line.strip() and b':' not in line]
    return path.parent.name.lower().startswith('labeltxt') and all(
        len(line) == 10 and _all_numbers(line[:8]) for line in lines
    )


def _all_numbers(cells: Iterable[bytes]) -> bool:
    return all(re.fullmatch(rb'\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*', c) for c in cells)


def _named(pattern: str) -> Matches:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda path, _: bool(compiled.fullmatch(path.name))


# Formats that are read come with the name of datumaro's reader.
SIGNATURES = (
    Signature('CVAT for video 1.1', 'cvat', ('.xml',), _is_cvat_video),
    Signature('CVAT for images 1.1', 'cvat', ('.xml',), _is_cvat),
    Signature('LabelMe XML', 'label_me', ('.xml',), _root('annotation', 'object', 'pt|segm')),
    Signature('VGG Image Annotator (VIA) JSON', '', ('.json',), _is_via),
    Signature(
        'VGG Image Annotator (VIA) CSV',
        '',
        ('.csv',),
        _columns('filename', 'region_shape_attributes'),
    ),
    Signature('Datumaro JSON', 'datumaro', ('.json',), _is_datumaro),
    Signature('Label Studio JSON', '', ('.json',), _keys('from_name', 'to_name')),
    Signature(
        'Label Studio JSON-MIN',
        '',
        ('.json',),
        _keys('original_width', one_of=('rectanglelabels', 'polygonlabels', 'brushlabels')),
    ),
    Signature('VoTT JSON', 'vott_json', ('.json',), _keys('assets', 'asset', 'regions')),
    Signature('VoTT CSV', 'vott_csv', ('.csv',), _is_vott_csv),
    Signature(
        'CreateML JSON',
        'roboflow_create_ml',
        ('.json',),
        _keys('image', 'annotations', 'coordinates', 'label'),
    ),
    Signature(
        'BDD100K (Scalabel JSON)', '', ('.json',), _keys('labels', one_of=('box2d', 'poly2d'))
    ),
    Signature('Darwin (V7) JSON', '', ('.json',), _keys('schema_ref', 'item', 'annotations')),
    Signature(
        'Labelbox JSON',
        '',
        ('.json', '.ndjson'),
        _keys('data_row', one_of=('projects', 'media_attributes')),
    ),
    Signature('Supervisely JSON', '', ('.json',), _is_supervisely),
    Signature(
        'Open Images',
        'open_images',
        ('.csv',),
        _columns('ImageID', 'LabelName', 'XMin', 'XMax', 'YMin', 'YMax'),
    ),
    Signature(
        'TensorFlow object detection CSV',
        '',
        ('.csv',),
        _columns('filename', 'class', 'xmin', 'ymin', 'xmax', 'ymax'),
    ),
    Signature('KITTI', 'kitti_detection', ('.txt',), _is_kitti),
    Signature('WIDER Face', 'wider_face', ('.txt',), _named(r'wider_face_.+_bbx_gt\.txt')),
    Signature('MOT', 'mot_seq', ('.txt',), _is_mot),
    Signature('DOTA', 'dota', ('.txt',), _is_dota),
    Signature('CelebA', '', ('.txt',), _named(r'list_bbox_celeba\.txt')),
    Signature('TFRecord', '', (), _named(r'.+\.(tfrecords?|tfrec)(-\d+-of-\d+)?')),
    Signature('pickled Python data', '', (), lambda _, start: bool(PICKLE.match(start))),
)
SUFFIXES = {suffix for signature in SIGNATURES for suffix in signature.suffixes}
# Names of TFRecords, of pickles, and of those of CIFAR, which have no suffix.
ODD_NAME = re.compile(
    r'.+\.(tfrecords?|tfrec)(-\d+-of-\d+)?|.+\.(pkl|pickle)|(data_batch_\d+|test_batch|.*meta)|'
    r'train|test',
    re.IGNORECASE,
)
