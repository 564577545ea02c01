"""The cards of the report, one an image: those with issues first, then random others."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from casvit.results import Colour
from casvit.sentences import count_of
from casvit_mm.datasets.issues import Issue, IssueList

# Images with issues, and how many of them a kind of issue may select.
FAULTY = 24
PER_KIND = 6
# Issues listed under an image.
LISTED = 6
# Classes named under an image.
NAMED = 8

Key = TypeVar('Key', bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """An issue of an image.

    Attributes:
        issue: The issue.
        number: The number next to its object in the image; 0 if there is none.
        subject: What it is an issue of, if not of the image or a record: ``mask``.
    """

    issue: Issue
    number: int = 0
    subject: str = ''

    @property
    def text(self) -> str:
        """What is wrong, and where."""
        text = f'{self.issue.record} {self.issue.detail}'.strip()
        return f'{self.subject}: {text}' if self.subject else text


@dataclass(frozen=True)
class Shown:
    """A class that is drawn in an image: its name, colour and frequency."""

    name: str
    colour: Colour
    count: str


@dataclass(frozen=True)
class Card:
    """An image of the report.

    Attributes:
        file: Name of the image.
        split: Its split.
        contents: What it holds: ``3 objects, 640 x 480``.
        small: The image with its annotations, as a data address; empty if it cannot be shown.
        large: The same in more detail.
        missing: Why it cannot be shown.
        findings: Its issues, errors first.
        classes: The most frequent classes in it.
    """

    file: str
    split: str
    contents: str
    small: str = ''
    large: str = ''
    missing: str = ''
    findings: list[Finding] = field(default_factory=list)
    classes: list[Shown] = field(default_factory=list)

    @property
    def listed(self) -> list[Finding]:
        """The findings that are listed."""
        return self.findings[:LISTED]

    @property
    def more(self) -> int:
        """The number of further findings."""
        return max(0, len(self.findings) - LISTED)

    @property
    def text(self) -> str:
        """What the image shows, in words."""
        if not self.small:
            return f'{self.file} in {self.split} {self.missing}'
        named = ', '.join(f'{one.count} {one.name}' for one in self.classes)
        text = f'{self.file} in {self.split}: {self.contents}' + (f'; {named}' if named else '')
        issues = count_of(len(self.findings), 'issue')
        return f'{text}; {issues}' if self.findings else text


def chosen(
    found: Mapping[Key, Sequence[Issue]], everything: Iterable[Key], number: int, seed: int
) -> list[Key]:
    """Chooses images: some of each kind of issue, errors first, then random ones.

    Args:
        found: The issues of each image that has any.
        everything: All images.
        number: Number of random images.
        seed: Random seed that selects them.
    """
    kinds = list(IssueList(issue for issues in found.values() for issue in issues).counts())
    by_kind: dict[str, list[Key]] = {kind: [] for kind in kinds}
    for key, issues in found.items():
        for kind in {issue.kind for issue in issues}:
            by_kind[kind].append(key)
    worst: dict[Key, set[str]] = {}
    for rank in range(PER_KIND):
        for kind, keys in by_kind.items():
            shown = sum(kind in others for others in worst.values())
            other = next((key for key in keys if key not in worst), None)
            if other is not None and shown <= rank and len(worst) < FAULTY:
                worst[other] = {issue.kind for issue in found[other]}
    first = sorted(worst, key=lambda key: min(map(kinds.index, worst[key])))
    others = [key for key in everything if key not in worst]
    order = np.random.default_rng(seed).permutation(len(others))[:number]
    return first + [others[index] for index in order]


def numbered(issues: Sequence[Issue]) -> list[Finding]:
    """Sorts the issues of an image, errors first, and numbers the objects that they concern.

    Objects are numbered only if there are several, and only those that are listed.
    """
    place = {kind: index for index, kind in enumerate(IssueList(issues).counts())}
    ordered = sorted(issues, key=lambda issue: place[issue.kind])
    objects: dict[int, int] = {}
    for issue in ordered[:LISTED]:
        if issue.group == 'annotations':
            objects.setdefault(issue.index, len(objects) + 1)
    several = len(objects) > 1
    return [
        Finding(
            issue,
            objects.get(issue.index, 0) if several and issue.group == 'annotations' else 0,
        )
        for issue in ordered
    ]
