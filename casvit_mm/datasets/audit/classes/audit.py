"""The audit of a dataset for classification: its issues and statistics."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from casvit.files import is_file
from casvit.names import name_issue
from casvit_mm.datasets.audit.classes.rules import order_issues, split_issues
from casvit_mm.datasets.audit.images import ImageFile, darkness, inspect_images
from casvit_mm.datasets.formats.classes import MOST_REPORTED, ClassDataset, ClassImage, ClassSplit
from casvit_mm.datasets.formats.folders import lies_in
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.similar_names import SimilarNames

OUTSIDE = ImageFile('missing-picture', 'lies outside the dataset and is not read')


@dataclass
class ClassFacts:
    """Statistics of one split of a dataset for classification.

    Attributes:
        images: Number of images.
        classes: Number of images by class, in the order of the classes.
        sizes: Widths and heights of the images in pixels. Shape: ``(images, 2)``.
    """

    images: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass
class ClassAudit:
    """The audit of a dataset for classification.

    Attributes:
        dataset: The dataset.
        classes: Names of its classes.
        issues: All issues found.
        facts: Statistics by split.
    """

    dataset: ClassDataset
    classes: list[str]
    issues: IssueList
    facts: dict[str, ClassFacts]


class _Place(NamedTuple):
    """An image, where it is."""

    name: str
    split: ClassSplit
    image: ClassImage
    path: Path

    @property
    def record(self) -> str:
        """Its place in the list."""
        return f'line {self.image.line}' if self.image.line else ''


def audit_classes(
    dataset: ClassDataset, *, read_images: bool = True, progress: bool = True
) -> ClassAudit:
    """Audits a dataset for classification.

    Args:
        dataset: The dataset.
        read_images: Whether to open every image, instead of only checking that it exists.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        The audit; nothing is raised for issues.
    """
    issues = IssueList(dataset.issues.issues)
    splits = list(dataset.splits.values())
    for split in splits:
        issues.extend(split_issues(split))
    issues.extend(order_issues(dataset.splits))
    classes = list(dict.fromkeys(name for split in splits for name in split.names))
    if all(split.file is None for split in splits):
        # As a run would sort them.
        classes.sort()
    _check_names(dataset, classes, issues)
    facts = {name: _gather_facts(split, classes) for name, split in dataset.splits.items()}
    _check_presence(dataset, classes, facts, issues)
    _check_images(dataset, facts, issues, read_images=read_images, progress=progress)
    return ClassAudit(dataset, classes, issues, facts)


def _gather_facts(split: ClassSplit, classes: Sequence[str]) -> ClassFacts:
    counts = Counter(image.label for image in split.images)
    numbers: dict[str, int] = dict.fromkeys(classes, 0)
    for index, name in enumerate(split.names):
        numbers[name] += counts[index]
    return ClassFacts(len(split.images), numbers)


def _check_names(dataset: ClassDataset, classes: Sequence[str], issues: IssueList) -> None:
    lower: dict[str, str] = {}
    owners: dict[str, ClassSplit] = {}
    for split in dataset.splits.values():
        for name in split.names:
            owners.setdefault(name, split)
    for name in classes:
        split = owners[name]
        file = str(split.folder / name) if split.file is None else str(split.file)
        if issue := name_issue(name):
            issues.add('unsafe-name', file, '', f'names a class {name!a}, which {issue}')
        other = lower.setdefault(name.casefold(), name)
        if other != name:
            detail = f'names a class {name!r}, which differs only by case from {other!r}'
            issues.add('similar-names', file, '', detail)


def _check_presence(
    dataset: ClassDataset, classes: Sequence[str], facts: dict[str, ClassFacts], issues: IssueList
) -> None:
    """Looks for classes that lists do not have; class folders have rules of their own."""
    lists = {
        name: str(split.file)
        for name, split in dataset.splits.items()
        if split.file is not None and split.images
    }
    for name, file in lists.items():
        present = [one for one in classes if facts[name].classes[one]]
        if name not in ('val', 'test') and len(present) == 1 < len(classes):
            detail = f'has images of only one class, {present[0]!r}'
            issues.add('nothing-to-learn', file, '', detail)
    if not lists:
        return
    used = {one for fact in facts.values() for one, number in fact.classes.items() if number}
    unused = [one for one in classes if one not in used]
    hint = '; do the class indices start at 1?' if unused[:1] == classes[:1] else ''
    _add_classes(issues, 'unused-class', next(iter(lists.values())), unused, f'has no images{hint}')
    for name, file in lists.items():
        absent = [one for one in classes if one in used and not facts[name].classes[one]]
        _add_classes(issues, 'absent-class', file, absent, f'has no images in {name}')


def _add_classes(
    issues: IssueList, kind: str, file: str, names: Sequence[str], detail: str
) -> None:
    for name in names[:MOST_REPORTED]:
        issues.add(kind, file, f'class {name!r}', detail)
    if len(names) > MOST_REPORTED:
        issues.add(kind, file, f'{len(names) - MOST_REPORTED:,} further classes', 'have no images')


def _check_images(
    dataset: ClassDataset,
    facts: dict[str, ClassFacts],
    issues: IssueList,
    *,
    read_images: bool,
    progress: bool,
) -> None:
    places = [
        _Place(name, split, image, split.path(image))
        for name, split in dataset.splits.items()
        for image in split.images
    ]
    # A list of a stranger may name any file of this machine.
    own = [not place.image.line or lies_in(place.path, dataset.root) for place in places]
    paths = [place.path for place in compress(places, own)]
    images = inspect_images(paths, progress=progress) if read_images else _exist(paths)
    similar, copies = SimilarNames(), _Copies(issues)
    sizes: dict[str, list[tuple[int, int]]] = {name: [] for name in facts}
    peaks: list[tuple[Path, float]] = []
    for place, known in zip(places, own, strict=True):
        image = next(images) if known else OUTSIDE
        where = (str(place.path), place.record)
        if image.issue:
            reason = image.reason
            if known and image.issue == 'missing-picture':
                near = find_near(dataset.root, place.path, similar)
                reason += f'; did you mean {near.name!r}?' if near else ''
            issues.add(image.issue, *where, reason)
        if image.peak is not None:
            peaks.append((place.path, image.peak))
        if image.upright != (0, 0):
            sizes[place.name].append(image.upright)
        copies.add(place, image.digest or str(place.path.absolute()))
    for name, fact in facts.items():
        fact.sizes = np.array(sizes[name], float).reshape(-1, 2)
    for split in dataset.splits.values():
        for skipped in split.skipped:
            detail = f'is skipped: a run reads only {", ".join(split.extensions)}'
            issues.add('skipped-picture', str(split.path(skipped)), '', detail)
    if peaks and (reason := darkness([peak for _, peak in peaks])):
        issues.add('dark-picture', str(peaks[0][0]), '', reason)


def find_near(root: Path, path: Path, similar: SimilarNames) -> Path | None:
    """The file in a dataset that a name probably means, which is only written differently."""
    slashed = Path(str(path).replace('\\', '/'))
    for near in (similar.find(path), similar.find(slashed)):
        if near is not None and lies_in(near, root):
            return near
    return None


def _exist(paths: Sequence[Path]) -> Iterator[ImageFile]:
    """What is known about images without opening them."""
    for path in paths:
        yield ImageFile() if is_file(path) else ImageFile('missing-picture', 'does not exist')


class _Copies:
    """Looks for images that are there more than once."""

    def __init__(self, issues: IssueList) -> None:
        self.issues = issues
        self.first: dict[str, _Place] = {}
        self.reported: set[tuple[str, str]] = set()

    def add(self, place: _Place, content: str) -> None:
        """Compares an image with the first one of the same content."""
        first = self.first.setdefault(content, place)
        if first is place:
            return
        own, other = (one.split.class_of(one.image) for one in (place, first))
        if own != other:
            for one, two, name in ((first, place, own), (place, first, other)):
                detail = f'is also in the class {name!r}, as {two.path} in {two.name}'
                self._report('class-conflict', one, detail)
        elif first.name != place.name:
            # The copy in the first split (training) is at fault, not the one that evaluates.
            self._report('same-picture', first, f'is also in {place.name}, as {place.path}')
        elif first.path == place.path:
            self._report('listed-twice', place, f'is also in line {first.image.line}')

    def _report(self, kind: str, place: _Place, detail: str) -> None:
        key = (kind, f'{place.path}:{place.image.line}')
        if key not in self.reported:
            self.reported.add(key)
            self.issues.add(kind, str(place.path), place.record, detail)
