"""What the values in semantic masks mean: class indices, grey levels, or noise."""

from dataclasses import dataclass

from casvit.sentences import some
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.formats.dataset import MaskDataset
from casvit_mm.datasets.mask_files import MaskContent
from casvit_mm.datasets.semantic_masks import MOST_CLASSES, Misread, misread

# Values with a smaller share of the pixels of a lossy mask may be noise.
NOISE = 0.01


@dataclass(frozen=True)
class Meaning:
    """What the stored values of a dataset mean.

    Attributes:
        classes: Names of the classes.
        mapping: Class index of each stored value, 255 for ignored ones.
        misread: What the values probably mean, if it is not what they say.
        needs: What has to be known before they can be converted; empty if nothing.
    """

    classes: list[str]
    mapping: dict[int, int]
    misread: Misread | None = None
    needs: str = ''


def meaning_of(dataset: MaskDataset, contents: list[MaskContent], ignore_index: int) -> Meaning:
    """What the values of a dataset mean, from all of its masks.

    Args:
        dataset: The dataset.
        contents: What its masks hold.
        ignore_index: The value of ignored pixels.
    """
    if dataset.legend is not None or dataset.values is not None:
        mapping = mapping_of(dataset, len(dataset.classes), ignore_index)
        return Meaning(list(dataset.classes), mapping)
    clean = [content for content in contents if not content.lossy]
    values: set[int] = set().union(*(content.counts for content in clean))
    named = len(dataset.classes) if dataset.named else 0
    others = values - {ignore_index}
    palette = all(content.header.mode == 'P' for content in clean)
    found = misread(values, named, ignore_index, palette=palette) if clean else None
    if found is None and named == 1 and others == {0, 1}:
        detail = (
            f'hold 0 and 1, but {dataset.names_file} names only one class: 0 is probably the '
            'background, which it does not name'
        )
        found = Misread('label-value', detail, (0, 1))
    if found is None:
        classes = list(dataset.classes)
        if not dataset.named:
            seen = [values] if clean else list(map(_frequent, contents))
            highest = max(
                (v for v in set().union(*seen) if 0 <= v < MOST_CLASSES and v != ignore_index),
                default=0,
            )
            classes = [f'class_{value}' for value in range(highest + 1)]
        return Meaning(classes, mapping_of(dataset, len(classes), ignore_index))
    if len(found.values) == 2 and found.kind != 'spread-values':
        mapping = dict(zip(found.values, (0, 1), strict=True))
        if ignore_index not in mapping:
            mapping[ignore_index] = IGNORE_INDEX
        return Meaning(_two_classes(dataset), mapping, found)
    return _spread_meaning(dataset, found, named, ignore_index)


def _spread_meaning(dataset: MaskDataset, found: Misread, named: int, ignore_index: int) -> Meaning:
    """Values in ascending order are the named classes, if there are as many."""
    without = tuple(value for value in found.values if value != ignore_index)
    for values in (without, found.values):
        if len(values) == named:
            mapping = {value: index for index, value in enumerate(values)}
            mapping.setdefault(ignore_index, IGNORE_INDEX)
            return Meaning(list(dataset.classes), mapping, found)
    needs = (
        f'{dataset.names_file or dataset.root / "classes.txt"} has to name the classes of the '
        f'{len(found.values)} values, one per line in ascending order of the values'
    )
    if len(without) < len(found.values):
        needs += f' (without {ignore_index}, if it is ignored)'
    if named:
        needs += f': it names {named}'
    classes = [f'value_{value}' for value in without]
    mapping = {value: index for index, value in enumerate(without[:MOST_CLASSES])}
    mapping.setdefault(ignore_index, IGNORE_INDEX)
    return Meaning(classes, mapping, found, needs)


def mapping_of(dataset: MaskDataset, classes: int, ignore_index: int) -> dict[int, int]:
    """The class index of each valid value of a dataset that means what it says.

    Args:
        dataset: The dataset.
        classes: Number of its classes.
        ignore_index: The value of ignored pixels.
    """
    if dataset.values is not None:
        most = {v: index for v, index in dataset.values.items() if index <= IGNORE_INDEX}
        return {**most, ignore_index: IGNORE_INDEX}
    mapping = {index: index for index in range(min(classes, MOST_CLASSES))}
    mapping[IGNORE_INDEX if dataset.legend is not None else ignore_index] = IGNORE_INDEX
    return mapping


def _frequent(content: MaskContent) -> set[int]:
    total = sum(content.counts.values())
    return {value for value, number in content.counts.items() if number >= NOISE * total}


def _two_classes(dataset: MaskDataset) -> list[str]:
    """Names of background and foreground, from the dataset if it has any."""
    if not dataset.named:
        return ['background', 'foreground']
    return list(dataset.classes) if len(dataset.classes) > 1 else ['background', *dataset.classes]


def describe_format(name: str) -> str:
    """Explains what a lossy format does, without a subject."""
    return f'is saved as {name}, which changes values at every edge'


def describe_noise(content: MaskContent) -> str:
    """Explains why values of a mask are noise, without a subject; empty if they are not."""
    if content.header.lossy:
        return f'{describe_format(content.header.lossy)}: it holds {_held(content)}'
    if content.noisy:
        return (
            'has values that occur only along edges, as lossy compression or resizing with '
            f'interpolation leaves them: it holds {_held(content)}'
        )
    return ''


def _held(content: MaskContent) -> str:
    """The number of values in a mask, and the most frequent of them."""
    total = sum(content.counts.values())
    main = [str(v) for v, number in sorted(content.counts.items()) if number >= NOISE * total]
    return f'{len(content.counts):,} values, of which {some(main, 6, quoted=False)} are frequent'
