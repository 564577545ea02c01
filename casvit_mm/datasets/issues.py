"""Issues of datasets: their kinds, their severity, and what to do about them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """Severity of an issue.

    An ``ERROR`` stops a run, harms what it learns, or silently drops an object. A ``WARNING`` is
    worth knowing, and may be intended.
    """

    ERROR = 'error'
    WARNING = 'warning'


@dataclass(frozen=True)
class IssueKind:
    """One kind of issue.

    Attributes:
        severity: Its severity.
        title: Title above a list of issues of this kind.
        advice: Its effect on training, or what to do about it.
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
        record: Place in the file, ``annotations[3] (id 17)``; empty for the file as a whole.
        detail: What is wrong there.
        group: Name of the list that contains the record: ``annotations``.
        index: Position of the record in that list; -1 for the file as a whole.
    """

    kind: str
    file: str
    record: str
    detail: str
    group: str = ''
    index: int = -1

    @property
    def severity(self) -> Severity:
        """Severity of its kind."""
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
        'records with a missing or invalid field', 'Readers of COCO files stop at them.'
    ),
    'double-id': _error('duplicate ids', 'Records cannot be told apart by them.'),
    'double-name': _error(
        'categories with the same name', 'Names must be unique: rename or merge them.'
    ),
    'unsafe-name': _error(
        'class names that mmengine or a terminal may take for instructions',
        'A config with them may run code when it is read: rename the classes, or use --fix.',
    ),
    'unknown-image': _error(
        'annotations of images that are not listed', 'They are silently dropped.'
    ),
    'unknown-category': _error(
        'annotations of categories that are not listed', 'They are silently dropped.'
    ),
    'empty-box': _error('boxes without area', 'The object is silently dropped.'),
    'nan-box': _error('boxes that are not numbers', 'The loss becomes NaN.'),
    'outside-box': _error('boxes entirely outside the image', 'The object is lost.'),
    'rle-size': _error(
        'run-length masks that differ in size from the image', 'The mask is misplaced.'
    ),
    'broken-mask': _error('masks that cannot be decoded', 'A run stops at them.'),
    'no-mask': _error(
        'objects without a mask',
        'Instance segmentation needs masks; for boxes alone use --task detection.',
    ),
    'swapped-box': _warning('boxes with negative width or height', 'mmdet drops them.'),
    'partly-outside': _warning('boxes partly outside the image', 'They are clipped at its edge.'),
    'tiny-box': _warning('boxes smaller than a pixel', 'mmdet drops them.'),
    'no-area': _warning('objects whose area is zero or negative', 'mmdet drops them.'),
    'few-points': _warning('polygons with fewer than three points', 'They enclose nothing.'),
    'self-crossing': _warning(
        'polygons that cross themselves', 'Inside and outside may swap in the overlap.'
    ),
    'crowd': _warning(
        'objects with the crowd flag', 'They are not trained on, and ignored in evaluation.'
    ),
    'listed-twice': _warning('images that are listed twice', 'They count twice.'),
    # Classes and splits.
    'unused-class': _warning('classes without objects', 'Their AP is undefined.'),
    'absent-class': _warning(
        'classes without objects in one split', 'They cannot be learned or evaluated there.'
    ),
    'class-order': _error(
        'splits that list their classes in different orders', 'Class names would be mixed up.'
    ),
    'same-picture': _warning(
        'images in more than one split',
        'Evaluation on training images gives scores that are too high.',
    ),
    # Images.
    'missing-picture': _error('missing images', 'A run stops at them.'),
    'unreadable-picture': _error('images that cannot be read', 'A run stops at them.'),
    'truncated-picture': _error('truncated images', 'The missing part is grey.'),
    'picture-size': _error(
        'images that differ from the stated size', 'Boxes and masks are misplaced.'
    ),
    'rotated-picture': _warning(
        'images rotated by EXIF', 'Annotations made on the unrotated image do not fit.'
    ),
    # Semantic masks.
    'missing-label-map': _error('images without a semantic mask', 'A run stops at them.'),
    'unpaired-label-map': _error('semantic masks without an image', 'They are not used.'),
    'unreadable-label-map': _error('semantic masks that cannot be read', 'A run stops at them.'),
    'label-map-size': _error(
        'semantic masks that differ in size from their image', 'A run stops at them.'
    ),
    'label-value': _error(
        'class indices out of range', 'An index error; on a GPU a device-side assert.'
    ),
    'binary-mask': _error(
        'semantic masks with only 0 and one value other than 1',
        'The foreground is ignored or a class out of range: write it as 1, or use --fix.',
    ),
    'colour-map': _error(
        'semantic masks in colours without a legend',
        'Add a legend (a text file: red green blue name, one class per line).',
    ),
    'mostly-ignored': _warning(
        'semantic masks that are mostly ignored', 'There is little to learn from them.'
    ),
}


class IssueList:
    """A list of issues, in the order in which they were found.

    Args:
        issues: Initial issues.
    """

    def __init__(self, issues: Iterable[Issue] = ()) -> None:
        self.issues = list(issues)

    def add(
        self, kind: str, file: str, record: str, detail: str, group: str = '', index: int = -1
    ) -> None:
        """Adds an issue; the arguments are the fields of :class:`Issue`."""
        self.issues.append(Issue(kind, file, record, detail, group, index))

    def extend(self, other: 'IssueList') -> None:
        """Adds the issues of another list."""
        self.issues += other.issues

    def of(self, severity: Severity) -> list[Issue]:
        """The issues of one severity."""
        return [issue for issue in self.issues if issue.severity is severity]

    def counts(self) -> dict[str, int]:
        """Number of issues by kind: errors before warnings, in the order of :data:`KINDS`."""
        counted = Counter(issue.kind for issue in self.issues)
        ordered = sorted(KINDS, key=lambda kind: KINDS[kind].severity is Severity.WARNING)
        return {kind: counted[kind] for kind in ordered if counted[kind]}

    def first(self, kind: str, limit: int) -> list[Issue]:
        """The first few issues of a kind."""
        return [issue for issue in self.issues if issue.kind == kind][:limit]
