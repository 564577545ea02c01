"""Which files are images and which are semantic masks, and which belong together."""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from casvit.sentences import count_of, some
from casvit_mm.datasets.formats.dataset import SPLIT_NAMES, UNSPLIT, Pair, split_of
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.formats.semantic.known import CITYSCAPES_FILE, LABEL_IDS, TRAIN_IDS

MASK_WORDS = frozenset(
    (
        *('annotations', 'annotation', 'annots', 'annot', 'anns', 'ann', 'labels', 'label'),
        *('labelmaps', 'labelmap', 'masks', 'mask', 'gt', 'gts', 'gtfine', 'groundtruth', 'truth'),
        *('segmentationclass', 'segmentationclassaug', 'segmentations', 'segmentation', 'segs'),
        *('seg', 'segmaps', 'segmap', 'targets', 'target', 'semantic', 'semantics'),
    )
)
IMAGE_WORDS = frozenset(
    (
        *('images', 'image', 'img', 'imgs', 'jpegimages', 'leftimg8bit', 'pictures', 'photos'),
        *('rgb', 'inputs', 'input'),
    )
)
# Words that say nothing about which of the two a folder holds.
OTHER_WORDS = frozenset(
    (
        *('dir', 'dirs', 'folder', 'png', 'jpg', 'jpeg', 'class', 'ids', 'id', 'index', 'binary'),
        *('fine', 'maps', 'map', 'aug', 'left', 'bit', 'original', 'raw', 'ground', 'tr', 'ts'),
        *('2', '8', 'color', 'colour', 'colored', 'coloured', 'colors', 'colours'),
    )
)
# Folders whose images are neither: drawings for people, and masks of single objects.
DRAWN_WORDS = frozenset(
    (
        *('visualization', 'visualisation', 'visualizations', 'visualisations', 'viz', 'vis'),
        *('overlay', 'overlays', 'preview', 'previews'),
    )
)
OBJECT_WORDS = frozenset(
    (
        *('segmentationobject', 'object', 'objects', 'instance', 'instances', 'instanceids'),
        *('depth', 'depths', 'disparity'),
    )
)
KNOWN_WORDS = MASK_WORDS | IMAGE_WORDS | OTHER_WORDS | OBJECT_WORDS | frozenset(SPLIT_NAMES)
COLOURED_WORDS = frozenset(('color', 'colour', 'colored', 'coloured', 'colors', 'colours', 'rgb'))
# What tools append to the name of an image to name its mask, and what they put before it. Endings
# are compared first: a regular expression for each of many files takes seconds.
SEPARATORS = '_-. '
MASK_ENDINGS = (
    *('mask', 'masks', 'label', 'labels', 'labelid', 'labelids', 'label_id', 'label_ids'),
    *('labeltrainid', 'labeltrainids', 'label_train_id', 'label_train_ids', 'trainid'),
    *('trainids', 'train_id', 'train_ids', 'gt', 'seg', 'segmentation', 'segmap'),
    *('annotation', 'groundtruth'),
)
ENDINGS = tuple(
    separator + word
    for word in sorted(MASK_ENDINGS, key=len, reverse=True)
    for separator in SEPARATORS
)
IMAGE_ENDINGS = ('_leftimg8bit', '_sat', '_image', '_img', '_rgb')
BEGINNINGS = tuple(f'{w}{s}' for w in ('mask', 'label', 'gt', 'seg', 'image', 'img') for s in '_-')
TOKEN = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+')

Key = tuple[str, ...]


def find(listing: Iterable[Folder]) -> tuple[list[Path], list[Path]]:
    """Finds images and semantic masks by the names of their folders and files.

    Args:
        listing: The folders; the first is the root.

    Returns:
        The images and the semantic masks; either may be empty.
    """
    listing = list(listing)
    images, masks = _sorted_out(listing, by_folder=True)
    if masks and not images:
        # The folder of a mask may also be the name of a dataset: then file names decide.
        images, masks = _sorted_out(listing, by_folder=False)
    return images, masks


def _sorted_out(listing: list[Folder], *, by_folder: bool) -> tuple[list[Path], list[Path]]:
    images, masks = [], []
    for folder in listing:
        kind = _kind_of(folder.path.relative_to(listing[0].path).parts)
        if kind == 'drawn':
            continue
        kind = kind if by_folder else ''
        named = [(path, path.stem) for path in folder.images]
        plain = {_bare(stem) for _, stem in named if not _mask_ending(stem)}
        for path, stem in named:
            city = CITYSCAPES_FILE.search(stem) if '_gt' in stem else None
            if city and city[2] not in (TRAIN_IDS, LABEL_IDS):
                continue
            beside = kind == '' and _mask_ending(stem) and _bare(stem) in plain
            if kind == 'mask' or beside or city:
                masks.append(path)
            else:
                images.append(path)
    return images, masks


def pair(
    root: Path, images: list[Path], masks: list[Path]
) -> tuple[list[tuple[str, Pair]], list[str]]:
    """Pairs images with their semantic masks.

    First by path and name; what remains by the name without what tools add to it, in the same
    folder, then in the same split, then anywhere.

    Args:
        root: Folder of the dataset.
        images: Its images.
        masks: Its semantic masks.

    Returns:
        Pairs with the splits that their folders name, sorted by path; and notes.
    """
    notes: list[str] = []
    by_key: dict[Key, tuple[list[Path], list[Path]]] = {}
    folders: dict[Path, Key] = {}
    for column, paths in enumerate((images, masks)):
        for path in paths:
            folder = path.parent
            if folder not in folders:
                folders[folder] = _folder_key(folder.relative_to(root).parts)
            key = (*folders[folder], path.stem)
            by_key.setdefault(key, ([], []))[column].append(path)
    chosen: dict[Key, list[Path | None]] = {}
    further: tuple[list[str], list[str]] = ([], [])
    for key, found in by_key.items():
        for column, paths in enumerate(found):
            if len(paths) > 1:
                paths.sort(key=_preference)
                further[column].extend(map(str, paths[1:]))
        chosen[key] = [paths[0] if paths else None for paths in found]
    for name, left_out in zip(('image', 'semantic mask'), further, strict=True):
        if left_out:
            notes.append(
                f'{count_of(len(left_out), name)} of the same name as another left out: '
                f'{some(left_out, 2)}.'
            )
    _match_rest(chosen)
    pairs = [(_split(key[:-1]), Pair(image, mask)) for key, (image, mask) in sorted(chosen.items())]
    return pairs, notes


def _match_rest(chosen: dict[Key, list[Path | None]]) -> None:
    """Pairs what has no counterpart of the same key: by ever less of it, if it is unambiguous."""
    for names in (
        lambda key: (*key[:-1], _bare(key[-1])),
        lambda key: (_split(key[:-1]), _bare(key[-1])),
        lambda key: (_bare(key[-1]),),
    ):
        single: tuple[dict[Key, list[Key]], dict[Key, list[Key]]] = ({}, {})
        for key, (image, mask) in chosen.items():
            if not (image and mask):
                single[0 if image else 1].setdefault(names(key), []).append(key)
        for name, keys in single[0].items():
            others = single[1].get(name, [])
            if len(keys) != 1 or len(others) != 1:
                continue
            kept, dropped = keys[0], others[0]
            splits = {_split(key[:-1]) for key in (kept, dropped)}
            # Not across splits: there, the mask of one and the image of the other are missing.
            if len(splits) > 1 and UNSPLIT not in splits:
                continue
            both = [chosen[kept][0], chosen[dropped][1]]
            if _split(kept[:-1]) == UNSPLIT:
                kept, dropped = dropped, kept
            del chosen[dropped]
            chosen[kept] = both


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    """The words in the name of a folder, also in ``SegmentationClass`` and ``trainannot``."""
    plain = re.sub(r'[^a-z0-9]', '', name.lower())
    if plain in MASK_WORDS | IMAGE_WORDS | OBJECT_WORDS:
        return (plain,)
    if plain.endswith('annot') and plain[:-5] in SPLIT_NAMES:
        return (plain[:-5], 'annot')
    return tuple(word.lower() for word in TOKEN.findall(name))


@lru_cache(maxsize=4096)
def _kind(name: str) -> str:
    """Whether a folder holds images or masks, or drawings for people; empty if it may be any."""
    words = set(_words(name))
    if words & DRAWN_WORDS:
        return 'drawn'
    if not words <= KNOWN_WORDS:
        # A word that says more: `face_mask_detection` holds no masks.
        return ''
    if words & OBJECT_WORDS and not words <= {'object', 'objects'}:
        return 'drawn'
    if words & MASK_WORDS:
        return 'mask'
    return 'image' if words & IMAGE_WORDS else ''


def _kind_of(parts: Iterable[str]) -> str:
    """What the innermost folder that says so holds."""
    kinds = [kind for kind in map(_kind, parts) if kind]
    return 'drawn' if 'drawn' in kinds else kinds[-1] if kinds else ''


def _folder_key(parts: Iterable[str]) -> Key:
    """What an image and its mask share: their folders without what tells the two apart."""
    key = []
    for part in parts:
        if _kind(part):
            part = '_'.join(word for word in _words(part) if word in SPLIT_NAMES)
        if part:
            key.append(part.lower())
    return tuple(key)


@lru_cache(maxsize=4096)
def _split(folders: Key) -> str:
    return split_of(*folders)


def _mask_ending(stem: str) -> int:
    """The length of what a tool appended to the name of an image to name its mask."""
    if '_gt' in stem and (city := CITYSCAPES_FILE.search(stem)):
        return len(stem) - city.start()
    lower = stem.lower()
    if lower.endswith(ENDINGS):
        length = max(len(ending) for ending in ENDINGS if lower.endswith(ending))
    else:
        length = 2 if stem.endswith('_L') else 0
    return length if length < len(stem) else 0


def _bare(stem: str) -> str:
    """The name of an image or a mask without what tools add to tell the two apart."""
    if length := _mask_ending(stem):
        stem = stem[:-length]
    lower = stem.lower()
    for ending in IMAGE_ENDINGS if lower.endswith(IMAGE_ENDINGS) else ():
        if lower.endswith(ending) and len(ending) < len(stem):
            stem = stem[: -len(ending)]
            break
    lower = stem.lower()
    for beginning in BEGINNINGS if lower.startswith(BEGINNINGS) else ():
        if lower.startswith(beginning) and len(beginning) < len(stem):
            return stem[len(beginning) :]
    return stem


def _preference(path: Path) -> tuple[bool, bool, bool, str]:
    """Sorts the masks of an image: class indices before colours, fine before coarse."""
    words = {word for part in path.parts[:-1] for word in _words(part)}
    city = CITYSCAPES_FILE.search(path.stem)
    coarse = bool(city and city[1] == 'Coarse')
    return bool(words & COLOURED_WORDS), coarse, path.suffix.lower() != '.png', str(path)
