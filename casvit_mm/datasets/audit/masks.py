"""The audit of a dataset with semantic masks: its issues and statistics."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from casvit.names import name_issue
from casvit.sentences import some
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.images import darkness, in_parallel
from casvit_mm.datasets.audit.mask_pairs import MaskPair, PairResult, inspect_pair
from casvit_mm.datasets.audit.mask_values import (
    Meaning,
    mapping_of,
    meaning_of,
)
from casvit_mm.datasets.audit.near_duplicates import SplitImage, find_near_duplicates
from casvit_mm.datasets.formats.dataset import MaskDataset
from casvit_mm.datasets.formats.semantic.known import wheel
from casvit_mm.datasets.issues import Effect, IssueList
from casvit_mm.datasets.mask_files import (
    Legend,
    mask_content,
    mask_labels,
)
from casvit_mm.datasets.semantic_masks import (
    MOST_CLASSES,
    describe_outside,
    nothing_to_learn,
)

# Above this share of ignored pixels there is little to learn from a mask.
MOSTLY = 0.5
SHOWN_VALUES = 3


@dataclass
class MaskFacts:
    """Statistics of one split of a dataset with semantic masks.

    Attributes:
        images: Number of images.
        pixels: Number of pixels by class.
        masks: Number of semantic masks that contain each class.
        ignored: Share of ignored pixels.
        sizes: Widths and heights of the images in pixels. Shape: ``(images, 2)``.
    """

    images: int = 0
    pixels: dict[str, int] = field(default_factory=dict)
    masks: dict[str, int] = field(default_factory=dict)
    ignored: float = 0.0
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass
class MaskAudit:
    """The audit of a dataset with semantic masks.

    Attributes:
        dataset: The dataset.
        classes: Names of its classes.
        issues: All issues found.
        facts: Statistics by split.
        ignore_index: The ignored value in masks of class indices.
        mapping: Class index of each stored value, 255 for ignored ones. With a legend, of each
            class index that it gives.
        outside: Share of the pixels of a mask that are outside the classes, if there are any.
        rewritten: Masks that a run cannot read as they are, although they hold class indices.
        needs: What a repair needs to know about the values, as a sentence; empty if nothing.
    """

    dataset: MaskDataset
    classes: list[str]
    issues: IssueList
    facts: dict[str, MaskFacts]
    ignore_index: int
    mapping: dict[int, int]
    outside: dict[Path, float] = field(default_factory=dict)
    rewritten: frozenset[Path] = frozenset()
    needs: str = ''

    @property
    def verbatim(self) -> bool:
        """Whether a run can read the masks as they are."""
        dataset = self.dataset
        return dataset.legend is None and dataset.values is None and not self.rewritten

    def indices(self, labels: np.ndarray) -> np.ndarray:
        """Class index of every pixel; 255 for ignored pixels and those outside the classes.

        Args:
            labels: As returned by :func:`read_labels`. Shape: ``(H, W)``.

        Returns:
            Shape: ``(H, W)``, uint8.
        """
        size = max(256, 2 + max(self.mapping, default=0))
        table = np.full(size, IGNORE_INDEX, np.uint8)
        table[list(self.mapping)] = list(self.mapping.values())
        if labels.dtype != np.uint8:
            # The last place of the table is ignored.
            table = np.append(table, np.uint8(IGNORE_INDEX))
            labels = np.where((labels < 0) | (labels >= size), size, labels)
        return table[labels]

    def write_indices(self, mask: Path, target: Path) -> None:
        """Writes a semantic mask with one channel of class indices, 255 for ignored pixels.

        Args:
            mask: The mask, of this dataset.
            target: The PNG file to write.

        Raises:
            UnreadableMaskError: The mask cannot be read.
        """
        labels, _ = read_labels(mask, self.dataset.legend)
        Image.fromarray(self.indices(labels)).save(target, 'PNG')


def audit_masks(
    dataset: MaskDataset,
    *,
    ignore_index: int = IGNORE_INDEX,
    read_images: bool = True,
    near_duplicates: bool = False,
    progress: bool = True,
) -> MaskAudit:
    """Audits a dataset with semantic masks.

    Args:
        dataset: The dataset.
        ignore_index: The value of ignored pixels in masks of class indices.
        read_images: Whether to read every image and mask, instead of only checking that both of a
            pair exist.
        near_duplicates: Whether to compare the images that were read across splits.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        The audit; nothing is raised for issues.

    Raises:
        MissingPackageError: Near-duplicates cannot be found without `imagehash`.
    """
    issues = IssueList()
    facts = {name: MaskFacts() for name in dataset.splits}
    listed = [(name, entry) for name, entries in dataset.splits.items() for entry in entries]
    pairs = []
    for name, entry in listed:
        if entry.mask is None and entry.image is not None:
            gone = '' if entry.image.is_file() else ', and does not exist itself'
            issues.add('missing-label-map', str(entry.image), '', f'has no semantic mask{gone}')
        elif entry.image is None:
            issues.add('unpaired-label-map', str(entry.mask), '', 'has no image')
        elif entry.mask is not None:
            pairs.append(MaskPair(name, entry.image, entry.mask))
    _check_names(dataset, issues)
    audit = MaskAudit(dataset, list(dataset.classes), issues, facts, ignore_index, {})
    if not read_images:
        audit.mapping = mapping_of(dataset, len(dataset.classes), ignore_index)
        for pair in pairs:
            facts[pair.split].images += 1
        return audit
    results = _read_pairs(dataset, pairs, issues, facts, progress=progress)
    if near_duplicates:
        images = [
            SplitImage(p.split, p.image, r.image) for p, r in zip(pairs, results, strict=True)
        ]
        for position, detail in find_near_duplicates(images, progress=progress):
            issues.add('near-duplicate', str(images[position].path), '', detail)
    contents = [result.content for result in results if result.content]
    meaning = meaning_of(dataset, contents, ignore_index)
    audit.classes, audit.mapping, audit.needs = meaning.classes, meaning.mapping, meaning.needs
    dataset.palette += [wheel(i) for i in range(len(dataset.palette), len(audit.classes))]
    if meaning.misread is not None:
        _add_misread(pairs, results, meaning, ignore_index, issues)
    audit.rewritten = frozenset(
        pair.mask
        for pair, result in zip(pairs, results, strict=True)
        if result.content and not result.content.header.one_channel
    )
    for pair, result in zip(pairs, results, strict=True):
        _add_values(pair, result, audit)
    _count(audit, pairs, results)
    audit.issues.mark_stopping(
        'lossy-mask',
        {
            str(pair.mask)
            for pair, result in zip(pairs, results, strict=True)
            if (content := result.content)
            and content.lossy
            and content.unknown is None
            and content.counts.keys() - audit.mapping.keys()
        },
    )
    # The classes in a lossy mask are not known.
    lossy = {p.split for p, r in zip(pairs, results, strict=True) if r.content and r.content.lossy}
    known = {name: fact for name, fact in facts.items() if name not in lossy}
    _check_presence(dataset, audit.classes, known, issues)
    return audit


def read_labels(path: Path, legend: Legend | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a semantic mask.

    Args:
        path: The file.
        legend: Class index of each RGB colour; None for masks of class indices.

    Returns:
        Stored values, or class indices with 255 for colours that are not in the legend; and those
        colours with their numbers of pixels, or None without a legend. Shapes: ``(H, W)`` and
        ``(N, 4)``.

    Raises:
        UnreadableMaskError: The file cannot be read.
        ColourMaskError: The mask holds colours, and there is no legend.
    """
    labels = mask_labels(path, legend)
    if legend is None:
        return labels, None
    unknown = mask_content(path, legend).unknown or []
    return labels, np.array([[*colour, number] for colour, number in unknown]).reshape(-1, 4)


def _read_pairs(
    dataset: MaskDataset,
    pairs: list[MaskPair],
    issues: IssueList,
    facts: dict[str, MaskFacts],
    *,
    progress: bool,
) -> list[PairResult]:
    """Reads all images and semantic masks, and adds the issues of the files."""
    found = []
    first: dict[str, tuple[str, Path]] = {}
    title = 'reading semantic masks' if progress else ''
    results: Iterator[PairResult] = in_parallel(
        lambda pair: inspect_pair(pair, dataset.legend), pairs, title, unit='mask'
    )
    peaks = []
    for pair, result in zip(pairs, results, strict=True):
        found.append(result)
        if result.image.peak is not None:
            peaks.append(result.image.peak)
        facts[pair.split].images += 1
        image, mask = str(pair.image), str(pair.mask)
        if result.image.issue:
            issues.add(result.image.issue, image, '', result.image.reason)
        elif result.image.orientation != 1:
            detail = f'is rotated by EXIF orientation {result.image.orientation}'
            issues.add('rotated-picture', image, '', detail)
        if result.mask_issue:
            issues.add(result.mask_issue, mask, '', result.reason)
        if result.content is None:
            continue
        upright, size = result.image.upright, result.content.header.size
        if upright not in ((0, 0), size):
            (width, height), (image_width, image_height) = size, upright
            detail = f'is {width}x{height} pixels, its image {image_width}x{image_height}'
            # Evaluation compares pixel by pixel, training crops both.
            effect = None if pair.split == 'train' else Effect.STOPS
            issues.add('label-map-size', mask, '', detail, effect=effect)
        if result.image.digest:
            other = first.setdefault(result.image.digest, (pair.split, pair.image))
            if other[0] != pair.split:
                # The copy in the first split (training) is at fault, not the one that evaluates.
                detail = f'is also in {pair.split}, as {image}'
                issues.add('same-picture', str(other[1]), '', detail)
    if peaks and (reason := darkness(peaks)):
        issues.add('dark-picture', str(dataset.root), '', reason)
    return found


def _add_misread(
    pairs: list[MaskPair],
    results: list[PairResult],
    meaning: Meaning,
    ignore_index: int,
    issues: IssueList,
) -> None:
    found = meaning.misread
    assert found is not None
    files = [
        pair.mask
        for pair, result in zip(pairs, results, strict=True)
        if result.content and not result.content.lossy and found.values[-1] in result.content.counts
    ]
    number = sum(1 for result in results if result.content and not result.content.lossy)
    detail = f'is one of {number:,} semantic masks that {found.detail}'
    if meaning.needs:
        detail += f'. For --fix, {meaning.needs}'
    outside = {value for value in found.values if value >= len(meaning.classes)} - {ignore_index}
    issues.add(found.kind, str(files[0]), '', detail, effect=Effect.STOPS if outside else None)


def _add_values(pair: MaskPair, result: PairResult, audit: MaskAudit) -> None:
    content = result.content
    if content is None or content.lossy:
        return
    total = sum(content.counts.values())
    if content.unknown is not None:
        found = [f'the colour {colour} in {n:,} pixels' for colour, n in content.unknown]
        more = f' and {len(found) - SHOWN_VALUES} more' if len(found) > SHOWN_VALUES else ''
        detail = f'has {", ".join(found[:SHOWN_VALUES])}{more}, which the legend does not list'
        outside = [number for _, number in content.unknown]
    else:
        wrong = [(v, n) for v, n in sorted(content.counts.items()) if v not in audit.mapping]
        detail = f'{describe_outside(wrong)}; {_allowed(audit)}' if wrong else ''
        outside = [number for _, number in wrong]
    if outside:
        audit.issues.add('label-value', str(pair.mask), '', detail)
        audit.outside[pair.mask] = sum(outside) / max(1, total)
    ignored = sum(
        number
        for value, number in content.counts.items()
        if audit.mapping.get(value, IGNORE_INDEX) == IGNORE_INDEX
    )
    if total and ignored / total > MOSTLY:
        share = f'{100 * ignored / total:.0f} % of its pixels are ignored'
        audit.issues.add('mostly-ignored', str(pair.mask), '', share)


def _allowed(audit: MaskAudit) -> str:
    """The values that masks may have, in words."""
    if audit.dataset.values is not None:
        known = [v for v, index in audit.mapping.items() if index != IGNORE_INDEX]
        shown = some(map(str, sorted(known)), 8, quoted=False)
        return f'{audit.dataset.names_file or "Cityscapes"} has {shown}'
    highest = min(len(audit.classes), MOST_CLASSES) - 1
    text = f'allowed are 0 to {highest}, and {audit.ignore_index} for ignored pixels'
    if len(audit.classes) > MOST_CLASSES:
        text += f' (a run reads 8 bits of a mask: {MOST_CLASSES} classes at most)'
    return text


def _count(audit: MaskAudit, pairs: list[MaskPair], results: list[PairResult]) -> None:
    """Counts pixels by class."""
    for split, fact in audit.facts.items():
        own = [
            result.content
            for pair, result in zip(pairs, results, strict=True)
            if pair.split == split and result.content
        ]
        pixels: Counter[int] = Counter()
        masks: Counter[int] = Counter()
        for content in own:
            counts: Counter[int] = Counter()
            for value, number in content.counts.items():
                counts[audit.mapping.get(value, IGNORE_INDEX)] += number
            pixels.update(counts)
            masks.update(counts.keys())
        fact.sizes = np.array([content.header.size for content in own], float).reshape(-1, 2)
        fact.ignored = pixels.pop(IGNORE_INDEX, 0) / max(1, pixels.total())
        masks.pop(IGNORE_INDEX, 0)
        fact.pixels = {name: pixels[index] for index, name in enumerate(audit.classes)}
        fact.masks = {name: masks[index] for index, name in enumerate(audit.classes)}


def _check_names(dataset: MaskDataset, issues: IssueList) -> None:
    file, first = str(dataset.names_file or dataset.root), dict[str, int]()
    for index, name in enumerate(dataset.classes):
        where = (file, f'class {index}')
        if issue := name_issue(name):
            issues.add('unsafe-name', *where, f'is named {name!a}, which {issue}')
        if name in first:
            issues.add('double-name', *where, f'has the name of class {first[name]}: {name!r}')
        first.setdefault(name, index)
    lower: dict[str, str] = {}
    for name in first:
        other = lower.setdefault(name.lower(), name)
        if other != name:
            issues.add('similar-names', file, f'class {first[name]}', f'is {name!r}: {other!r} too')


def _check_presence(
    dataset: MaskDataset, classes: list[str], facts: dict[str, MaskFacts], issues: IssueList
) -> None:
    """Looks for splits with nothing to learn, and for classes that are missing."""
    # A split without readable masks has other issues.
    read = {split: fact for split, fact in facts.items() if len(fact.sizes)}
    for split, fact in read.items():
        present = [name for name in classes if fact.pixels.get(name)]
        if reason := nothing_to_learn(present):
            issues.add('nothing-to-learn', str(dataset.root), f'split {split!r}', reason)
    for name in classes if read else ():
        present_in = {split for split, fact in read.items() if fact.pixels.get(name)}
        where = (str(dataset.root), f'class {name!r}')
        if not present_in:
            issues.add('unused-class', *where, 'has no pixels')
            continue
        for split in read:
            if split not in present_in:
                issues.add('absent-class', *where, f'has no pixels in {split}')
