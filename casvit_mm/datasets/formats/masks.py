"""Images with semantic masks, as class indices or colours, in the common layouts."""

from pathlib import Path

import numpy as np

from casvit.errors import DatasetError
from casvit.sentences import count_of, some
from casvit.tables import IGNORE_INDEX, SPLITS
from casvit_mm.datasets.formats.dataset import UNSPLIT, MaskDataset, Pair
from casvit_mm.datasets.formats.semantic import layouts
from casvit_mm.datasets.formats.semantic.known import (
    CITYSCAPES,
    CITYSCAPES_FILE,
    CITYSCAPES_IDS,
    LABEL_IDS,
    TRAIN_IDS,
    VOC,
    Colour,
    is_voc,
    wheel,
)
from casvit_mm.datasets.formats.semantic.layouts import find
from casvit_mm.datasets.formats.semantic.legends import (
    IGNORED_NAMES,
    LEGENDS,
    NAMES,
    ClassList,
    look_for,
    read_classes,
    read_legend,
)
from casvit_mm.datasets.formats.semantic.lists import by_lists, find_lists
from casvit_mm.datasets.mask_files import (
    UnreadableMaskError,
    mask_colours,
    mask_content,
    mask_header,
    shown_as,
)

__all__ = ('find', 'read', 'read_legend', 'wheel')

# Enough masks to tell colours from class indices, and to number classes.
SAMPLE, NUMBERED = 8, 64
Splits = dict[str, list[Pair]]


def read(
    root: Path, images: list[Path], masks: list[Path], legend: Path | None = None
) -> MaskDataset:
    """Pairs images with their semantic masks, and reads the classes.

    Args:
        root: Folder of the dataset.
        images: Its images.
        masks: Its semantic masks.
        legend: File with the colours or names of the classes; looked for in the folders of the
            masks and above if None.

    Returns:
        The dataset.

    Raises:
        DatasetError: No image has a semantic mask, or the legend is invalid.
    """
    images, masks, ids, notes = _cityscapes(images, masks)
    splits, more = _splits(root, images, masks, ids)
    notes += more
    masks = [pair.mask for pairs in splits.values() for pair in pairs if pair.mask]
    names = legend or look_for(root, masks, (*LEGENDS, *NAMES))
    classes = read_classes(names) if names else None
    dataset = MaskDataset('semantic masks with class indices', root, splits, [], [], notes=notes)
    sample = _spaced(masks, SAMPLE)
    if _is_coloured(sample, classes):
        if classes is not None and not classes.has_colours and legend is None:
            other = look_for(root, masks, LEGENDS)
            classes = read_classes(other) if other else None
        _add_colours(dataset, classes)
        return dataset
    if classes is not None and classes.entries:
        _add_names(dataset, classes, ids)
    elif ids:
        _add_cityscapes(dataset, ids)
    elif is_voc(masks):
        dataset.classes, dataset.named = ['background', *VOC], True
        dataset.palette = [(0, 0, 0), *map(wheel, range(len(VOC)))]
        dataset.notes.append('The classes are those of VOC2012, by the names of its images.')
    else:
        dataset.classes = [f'class_{value}' for value in range(_highest(masks) + 1)]
        dataset.palette = [wheel(index) for index in range(len(dataset.classes))]
        dataset.notes.append(
            f'{root} has no classes.txt with one class name per line: the classes are numbered.'
        )
    if any(_is_grey(path) for path in sample):
        dataset.notes.append(
            'Semantic masks are grey images with several equal channels: these are read as class '
            'indices.'
        )
    return dataset


def _splits(
    root: Path, images: list[Path], masks: list[Path], ids: str
) -> tuple[Splits, list[str]]:
    """Pairs by split, from lists if there are any, and notes."""
    pairs, notes = layouts.pair(root, images, masks)
    if not any(pair.image and pair.mask for _, pair in pairs):
        raise DatasetError(
            f'No image in {root} has a semantic mask of the same name: {some(map(str, images), 2)} '
            f'and {some(map(str, masks), 2)}. Expected images/…/a.jpg and annotations/…/a.png.'
        )
    listed = by_lists(pairs, lists) if (lists := find_lists(root, masks)) else None
    splits: Splits = {}
    if listed:
        splits = listed[0]
        notes += listed[1]
    else:
        for name, pair in pairs:
            splits.setdefault(name, []).append(pair)
    test = splits.get('test', [])
    if len(splits) > 1 and test and _is_withheld([pair.mask for pair in test], ids):
        del splits['test']
        notes.append(
            f'The split test is left out: its {count_of(len(test), "image")} have no annotations.'
        )
    return {name: splits[name] for name in (*SPLITS, UNSPLIT) if name in splits}, notes


def _is_withheld(masks: list[Path | None], ids: str) -> bool:
    """Whether the annotations of a test split are kept back by those who publish the dataset."""
    there = [mask for mask in masks if mask is not None]
    if not there:
        return True
    classes = {stored for stored, *_ in CITYSCAPES} if ids == LABEL_IDS else set(range(255))
    return bool(ids) and not any(_values(mask) & classes for mask in _spaced(there, SAMPLE))


def _cityscapes(
    images: list[Path], masks: list[Path]
) -> tuple[list[Path], list[Path], str, list[str]]:
    """Chooses one annotation for each image of Cityscapes; other datasets stay as they are.

    Returns:
        Images, masks, which of the ids the masks hold (empty for other datasets), and notes.
    """
    by_file: dict[tuple[str, str, str], dict[str, Path]] = {}
    for mask in masks:
        if not (found := CITYSCAPES_FILE.search(mask.stem)):
            return images, masks, '', []
        key = (str(mask.parent), mask.stem[: found.start()], found[1])
        by_file.setdefault(key, {})[found[2]] = mask
    if not by_file:
        return images, masks, '', []
    notes = []
    if {'Fine', 'Coarse'} <= {key[2] for key in by_file}:
        by_file = {key: files for key, files in by_file.items() if key[2] == 'Fine'}
        before = len(images)
        images = [image for image in images if 'train_extra' not in image.parts]
        notes.append('The coarse annotations of Cityscapes are left out, as there are fine ones.')
        if extra := before - len(images):
            notes.append(
                f'{count_of(extra, "image")} of train_extra left out: they have no fine ones.'
            )
    ids = TRAIN_IDS if all(TRAIN_IDS in files for files in by_file.values()) else LABEL_IDS
    chosen = [files[ids] for files in by_file.values() if ids in files]
    return images, chosen, ids, notes


def _add_cityscapes(dataset: MaskDataset, ids: str) -> None:
    dataset.classes = [name for _, name, _ in CITYSCAPES]
    dataset.palette = [colour for *_, colour in CITYSCAPES]
    dataset.named = True
    note = f'The {len(CITYSCAPES)} classes of Cityscapes are read from its files {ids}'
    if ids == LABEL_IDS:
        index = {stored: place for place, (stored, *_) in enumerate(CITYSCAPES)}
        dataset.values = {value: index.get(value, IGNORE_INDEX) for value in range(CITYSCAPES_IDS)}
        dataset.values[IGNORE_INDEX] = IGNORE_INDEX
        note += '; other ids are ignored'
    dataset.notes.append(f'{note}.')


def _add_names(dataset: MaskDataset, classes: ClassList, ids: str) -> None:
    """Adds the classes that a file names to a dataset with class indices."""
    entries = classes.entries
    dataset.notes += classes.notes
    dataset.classes = [entry.name for entry in entries]
    dataset.palette = [entry.colour or wheel(index) for index, entry in enumerate(entries)]
    dataset.names_file, dataset.named = classes.file, True
    if ids and entries[0].value is None and ids == LABEL_IDS:
        dataset.notes.append(
            f'{classes.file} names the values of {LABEL_IDS} from 0, in place of the classes of '
            'Cityscapes.'
        )
    values = [entry.value for entry in entries if entry.value is not None]
    if len(values) < len(entries) or values == list(range(len(entries))):
        return
    dataset.values = {value: index for index, value in enumerate(values)}
    dataset.values.setdefault(IGNORE_INDEX, IGNORE_INDEX)
    if 0 not in dataset.values:
        dataset.values[0] = IGNORE_INDEX
        dataset.notes.append(
            f'{classes.file} numbers the classes from {min(values)}: 0 is ignored in training '
            '(reduce_zero_label).'
        )


def _add_colours(dataset: MaskDataset, classes: ClassList | None) -> None:
    """Adds the classes of a legend to a dataset with colours."""
    dataset.format = 'semantic masks with colours'
    if classes is None:
        return
    dataset.names_file, dataset.named = classes.file, True
    dataset.notes += classes.notes
    legend: dict[Colour, int] = {}
    for entry in classes.entries:
        if entry.colour is None:
            raise DatasetError(
                f'The legend {classes.file} has no colour for {entry.name!r}: write one class per '
                'line, as red green blue name.'
            )
        if entry.colour in legend:
            raise DatasetError(
                f'The legend {classes.file} has the colour {entry.colour} twice, the second time '
                f'for {entry.name!r}: each class needs colours of its own.'
            )
        if entry.name.lower() in IGNORED_NAMES:
            legend[entry.colour] = IGNORE_INDEX
            dataset.notes.append(
                f'The class {entry.name!r} of {classes.file} is ignored in training.'
            )
        elif entry.name in dataset.classes:
            legend[entry.colour] = dataset.classes.index(entry.name)
            dataset.notes.append(f'The class {entry.name!r} has several colours in {classes.file}.')
        else:
            legend[entry.colour] = len(dataset.classes)
            dataset.classes.append(entry.name)
            dataset.palette.append(entry.colour)
    if len(dataset.classes) > IGNORE_INDEX:
        raise DatasetError(
            f'The legend {classes.file} has {len(dataset.classes):,} classes, but a run reads 8 '
            f'bits of a semantic mask: {IGNORE_INDEX} classes at most.'
        )
    dataset.legend = legend or None


def _is_coloured(sample: list[Path], classes: ClassList | None) -> bool:
    """Whether masks hold the colours of classes: those of a legend, or any that are not grey."""
    colours = {
        entry.colour: index for index, entry in enumerate(classes.entries if classes else ())
    }
    found = False
    for path in sample:
        try:
            header = mask_header(path)
            if classes is None or not classes.has_colours:
                if header.one_channel:
                    # Datasets do not mix the two: other masks in colours are issues of their own.
                    return False
                coloured = not _is_index(path)
            elif header.one_channel:
                shown = shown_as(path)
                # A palette, or grey levels: the colours may only display the class indices.
                coloured = set(shown.values()) <= colours.keys() and any(
                    colours[colour] != value for value, colour in shown.items()
                )
            else:
                # Equal channels may hold class indices, of which the legend gives the colours.
                indices = _values(path)
                coloured = mask_colours(path) <= colours.keys() or not (
                    len(indices) > 1 and indices <= set(range(len(colours)))
                )
            found = found or coloured
        except UnreadableMaskError:
            # The check names the file.
            continue
    return found


def _is_index(path: Path) -> bool:
    """Whether a mask holds class indices, in one channel or several equal ones."""
    try:
        mask_content(path)
    except UnreadableMaskError:
        return False
    return True


def _is_grey(path: Path) -> bool:
    try:
        return not mask_header(path).one_channel and _is_index(path)
    except UnreadableMaskError:
        return False


def _spaced(paths: list[Path], number: int) -> list[Path]:
    """Some of the paths, evenly spaced."""
    places = np.linspace(0, len(paths) - 1, min(number, len(paths)), dtype=int)
    return [paths[place] for place in places]


def _values(path: Path) -> set[int]:
    try:
        return set(mask_content(path).counts)
    except UnreadableMaskError:
        return set()


def _highest(masks: list[Path]) -> int:
    """The highest class index in a sample of the masks."""
    values = set().union(*map(_values, _spaced(masks, NUMBERED)))
    return max((value for value in values if 0 <= value < IGNORE_INDEX), default=0)
