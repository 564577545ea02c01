"""Issues that datasets have: their kinds, how grave each is, and what to do about it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How grave an issue is.

    An ``ERROR`` stops a run, spoils what it learns, or loses an object without a word. A
    ``WARNING`` is something that a person should know, and may want.
    """

    ERROR = 'error'
    WARNING = 'warning'


@dataclass(frozen=True)
class IssueKind:
    """One kind of issue.

    Attributes:
        severity: How grave it is.
        title: What a person reads above a list of them.
        advice: What it does to a training, or what to do about it.
    """

    severity: Severity
    title: str
    advice: str


@dataclass(frozen=True)
class Issue:
    """One issue.

    Attributes:
        kind: Key of :data:`KINDS`.
        file: The file that it is in.
        record: Where in the file, ``annotations[3] (id 17)``; empty where the file as a whole.
        detail: What is wrong there.
        group: Name of the list that the record is in: ``annotations``.
        index: Position of the record in that list; -1 where the file as a whole.
    """

    kind: str
    file: str
    record: str
    detail: str
    group: str = ''
    index: int = -1

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return KINDS[self.kind].severity

    def __str__(self) -> str:
        where = f'{self.file}: {self.record}' if self.record else self.file
        return f'{where} {self.detail}'


def _error(title: str, advice: str) -> IssueKind:
    return IssueKind(Severity.ERROR, title, advice)


def _warning(title: str, advice: str) -> IssueKind:
    return IssueKind(Severity.WARNING, title, advice)


KINDS: dict[str, IssueKind] = {
    # Annotation files.
    'broken-record': _error(
        'records that lack a field, or hold the wrong kind of value',
        'Readers of COCO files stop at them.',
    ),
    'double-id': _error('ids that occur twice', 'Annotations cannot be told apart by them.'),
    'double-name': _error(
        'categories of one name', 'Classes are found by their names: rename or merge them.'
    ),
    'unsafe-name': _error(
        'class names that mmengine or a terminal may take for instructions',
        'They may run code when a config with them is read: rename the classes, or use --fix.',
    ),
    'unknown-image': _error(
        'annotations of images that are not listed', 'They are silently dropped.'
    ),
    'unknown-category': _error(
        'annotations of categories that have no name', 'They are silently dropped.'
    ),
    'empty-box': _error('boxes without area', 'The object is silently dropped.'),
    'nan-box': _error('boxes that are not numbers', 'The loss becomes NaN.'),
    'outside-box': _error('boxes wholly outside the image', 'The object is lost.'),
    'rle-size': _error(
        'run-length masks of another size than the image', 'The mask lies somewhere else.'
    ),
    'broken-mask': _error('masks that cannot be decoded', 'Loading it stops the run.'),
    'no-mask': _error(
        'objects without a mask', 'Instance segmentation needs one: use --task detection.'
    ),
    'swapped-box': _warning(
        'boxes whose corners are swapped', 'A negative width or height: mmdet leaves them out.'
    ),
    'partly-outside': _warning('boxes partly outside the image', 'They are cut at its edge.'),
    'tiny-box': _warning('boxes below a pixel', 'mmdet leaves them out.'),
    'no-area': _warning('objects whose area is not above 0', 'mmdet leaves them out.'),
    'few-points': _warning('polygons with fewer than three points', 'They enclose nothing.'),
    'self-crossing': _warning(
        'polygons that cross themselves', 'Where they overlap, inside and outside may swap.'
    ),
    'crowd': _warning(
        'objects with the crowd flag', 'Not trained on, and ignored by the evaluation.'
    ),
    'listed-twice': _warning('images that are listed twice', 'They count double.'),
    # Classes and splits.
    'unused-class': _warning('classes without an object', 'Their AP stays undefined.'),
    'absent-class': _warning(
        'classes that a split has no object of', 'It cannot be learned there, or not evaluated.'
    ),
    'class-order': _error(
        'splits that number their classes differently', 'Names would be exchanged.'
    ),
    'same-picture': _warning(
        'images that are in two splits', 'What is evaluated was trained on: results flatter.'
    ),
    # Images.
    'missing-picture': _error('images that are not there', 'A run stops at them.'),
    'unreadable-picture': _error('files that are no images', 'A run stops at them.'),
    'truncated-picture': _error('images that end too early', 'The rest of them is grey.'),
    'picture-size': _error(
        'images of another size than stated', 'Boxes and masks lie somewhere else.'
    ),
    'rotated-picture': _warning(
        'images that EXIF rotates', 'Labels made on the unrotated image do not fit.'
    ),
    # Semantic masks.
    'missing-label-map': _error('images without a semantic mask', 'A run stops at them.'),
    'unpaired-label-map': _error('semantic masks without an image', 'They are not used.'),
    'unreadable-label-map': _error('semantic masks that cannot be read', 'A run stops at them.'),
    'label-map-size': _error(
        'semantic masks of another size than their image', 'A run stops at them.'
    ),
    'label-value': _error(
        'label values outside the classes', 'An index error; on a GPU a device-side assert.'
    ),
    'binary-mask': _error(
        'semantic masks of 0 and one other value than 1',
        'The foreground is ignored, or a class of a high number: write 1 for it, or use --fix.',
    ),
    'colour-map': _error(
        'semantic masks in colours that no legend explains',
        'Give the legend (a text file: red green blue name, one class a line).',
    ),
    'mostly-ignored': _warning(
        'semantic masks that are ignored for the most part', 'There is little to learn in them.'
    ),
}


class IssueList:
    """Issues in the order in which they were found.

    Args:
        issues: To begin with.
    """

    def __init__(self, issues: Iterable[Issue] = ()) -> None:
        self.issues = list(issues)

    def add(
        self, kind: str, file: str, record: str, detail: str, group: str = '', index: int = -1
    ) -> None:
        """Adds one; the arguments are the fields of :class:`Issue`."""
        self.issues.append(Issue(kind, file, record, detail, group, index))

    def extend(self, other: 'IssueList') -> None:
        """Adds those of another list."""
        self.issues += other.issues

    def of(self, severity: Severity) -> list[Issue]:
        """Those of one severity."""
        return [issue for issue in self.issues if issue.severity is severity]

    def counts(self) -> dict[str, int]:
        """Numbers by kind: errors before warnings, in the order of :data:`KINDS`."""
        counted = Counter(issue.kind for issue in self.issues)
        ordered = sorted(KINDS, key=lambda kind: KINDS[kind].severity is Severity.WARNING)
        return {kind: counted[kind] for kind in ordered if counted[kind]}

    def first(self, kind: str, limit: int) -> list[Issue]:
        """The first few of a kind."""
        return [issue for issue in self.issues if issue.kind == kind][:limit]
