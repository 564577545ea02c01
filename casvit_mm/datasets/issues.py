"""Issues of datasets: their kinds, their severity, and what to do about them."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum


class Severity(str, Enum):
    """Severity of an issue: an error, or a warning, which is worth knowing and may be intended."""

    ERROR = 'error'
    WARNING = 'warning'


class Effect(str, Enum):
    """What an issue does to a training run that does not check its data.

    ``STOPS``: the run ends with an exception, or skips more images than it may. ``HARMS``: it goes
    on and learns less, nothing, or something else. ``NONE``: neither; the issue is a warning.
    """

    STOPS = 'stops'
    HARMS = 'harms'
    NONE = 'none'


@dataclass(frozen=True)
class IssueKind:
    """One kind of issue.

    Attributes:
        effect: What it does to a run.
        title: Title above a list of issues of this kind.
        advice: Its effect on training, or what to do about it.
        general: Whether it concerns a split or a dataset, not single records: then a run refuses
            it even if it would only be harmed.
    """

    effect: Effect
    title: str
    advice: str
    general: bool = False

    @property
    def severity(self) -> Severity:
        """An error if it affects a run, else a warning."""
        return Severity.WARNING if self.effect is Effect.NONE else Severity.ERROR


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
        own_effect: Its effect on a run, if it differs from that of its kind.
    """

    kind: str
    file: str
    record: str
    detail: str
    group: str = ''
    index: int = -1
    own_effect: Effect | None = None

    @property
    def effect(self) -> Effect:
        """What it does to a run."""
        return self.own_effect or KINDS[self.kind].effect

    @property
    def severity(self) -> Severity:
        """Severity of its kind."""
        return KINDS[self.kind].severity

    @property
    def refused(self) -> bool:
        """Whether a run that checks its data refuses them for it."""
        return self.effect is Effect.STOPS or KINDS[self.kind].general

    def __str__(self) -> str:
        where = f'{self.file}: {self.record}' if self.record else self.file
        return f'{where} {self.detail}'


def _stops(title: str, advice: str) -> IssueKind:
    return IssueKind(Effect.STOPS, title, advice)


def _harms(title: str, advice: str) -> IssueKind:
    return IssueKind(Effect.HARMS, title, advice)


def _harms_all(title: str, advice: str) -> IssueKind:
    return IssueKind(Effect.HARMS, title, advice, general=True)


def _warning(title: str, advice: str) -> IssueKind:
    return IssueKind(Effect.NONE, title, advice)


KINDS: dict[str, IssueKind] = {
    # Annotation files.
    'broken-record': _stops('records with a missing or invalid field', 'A run stops at them.'),
    'unreadable-annotation': _harms(
        'annotations that cannot be read', 'Their objects would be missing.'
    ),
    'unused-annotation-file': _harms_all(
        'annotation files that belong to no image',
        'Their objects would be missing: check the names and folders.',
    ),
    'missing-split': _harms_all(
        'splits that are named but not there', 'Another split would take their place.'
    ),
    'nothing-to-learn': _harms_all(
        'splits without anything to learn or to evaluate', 'The model would learn nothing.'
    ),
    'double-id': _harms('duplicate ids', 'Records cannot be told apart by them.'),
    'double-name': _harms_all(
        'categories with the same name', 'Names must be unique: rename or merge them.'
    ),
    'unsafe-name': _harms(
        'class names that mmengine or a terminal may take for instructions',
        'A config with them may run code when it is read: rename the classes, or use --fix.',
    ),
    'unknown-image': _harms(
        'annotations of images that are not listed', 'They are silently dropped.'
    ),
    'unknown-category': _harms(
        'annotations of categories that are not listed', 'They are silently dropped.'
    ),
    'empty-box': _harms('boxes without area', 'The object is silently dropped.'),
    'nan-box': _harms('boxes that are not numbers', 'The loss becomes NaN.'),
    'normalised-box': _harms_all(
        'boxes in another unit than their format defines',
        'They would be in the wrong place: convert the coordinates.',
    ),
    'box-mask-mismatch': _harms(
        'boxes that disagree with their masks',
        'One of the two is wrong: --fix OUT --boxes-from-masks takes the boxes from the masks.',
    ),
    'outside-box': _harms('boxes entirely outside the image', 'The object is lost.'),
    'rle-size': _stops(
        'run-length masks that differ in size from the image', 'The mask is misplaced.'
    ),
    'broken-mask': _stops('masks that cannot be decoded', 'A run stops at them.'),
    'flat-polygon': _stops(
        'polygons that are not in a list of polygons', 'A run stops at them: --fix wraps them.'
    ),
    'no-mask': _stops(
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
    'duplicate-object': _warning(
        'objects that are annotated twice', 'They count twice: --fix keeps one.'
    ),
    'listed-twice': _warning('images that are listed twice', 'They count twice.'),
    # Classes and splits.
    'unused-class': _warning('classes that do not occur', 'They cannot be learned or evaluated.'),
    'absent-class': _warning(
        'classes that do not occur in one split', 'They cannot be learned or evaluated there.'
    ),
    'empty-class': _harms_all(
        'class folders without images',
        'Their classes are numbered, but cannot be learned or evaluated: fill them, or remove them '
        'from every split.',
    ),
    'similar-names': _warning(
        'class names that differ only by case', 'They are different classes: is that intended?'
    ),
    'class-order': _harms_all(
        'splits that number their classes differently', 'Class names would be mixed up.'
    ),
    'class-conflict': _harms(
        'images in more than one class', 'A model cannot learn both: keep each in its class.'
    ),
    'same-picture': _warning(
        'images in more than one split',
        'Evaluation on training images gives scores that are too high.',
    ),
    'near-duplicate': _warning(
        'images that nearly equal one in another split',
        'Evaluation on near copies of training images gives scores that are too high.',
    ),
    # Images.
    'missing-picture': _stops('missing images', 'A run stops at them.'),
    'unreadable-picture': _stops('images that cannot be read', 'A run stops at them.'),
    'truncated-picture': _harms('truncated images', 'The missing part is grey.'),
    'skipped-picture': _harms(
        'images whose suffix a run does not read',
        'They are silently dropped: save them as PNG or JPEG, or use --fix.',
    ),
    'dark-picture': _harms_all(
        'images that use only a small part of their brightness range',
        'They load nearly black: --fix OUT --bits N, with the number of bits in use.',
    ),
    'picture-size': _harms(
        'images that differ from the stated size', 'Boxes and masks are misplaced.'
    ),
    'rotated-picture': _warning(
        'images rotated by EXIF', 'Annotations made on the unrotated image do not fit.'
    ),
    # Semantic masks.
    'missing-label-map': _stops('images without a semantic mask', 'A run stops at them.'),
    'unpaired-label-map': _harms('semantic masks without an image', 'They are not used.'),
    'unreadable-label-map': _stops('semantic masks that cannot be read', 'A run stops at them.'),
    'label-map-size': _harms(
        'semantic masks that differ in size from their image',
        'Their classes are learned in the wrong places, and evaluation stops at them.',
    ),
    'label-value': _stops(
        'class indices out of range', 'An index error; on a GPU a device-side assert.'
    ),
    'binary-mask': _harms_all(
        'semantic masks with only 0 and one value other than 1',
        'The foreground is ignored or a class out of range: write it as 1, or use --fix.',
    ),
    'spread-values': _harms_all(
        'semantic masks whose values are far apart',
        'They are probably grey levels, one for each class: with their names in classes.txt, --fix '
        'writes indices.',
    ),
    'colour-map': _stops(
        'semantic masks in colours without a legend',
        'Add a legend (a text file: red green blue name, one class per line).',
    ),
    'lossy-mask': _harms(
        'semantic masks in a lossy format', 'Compression invents classes at every edge: use PNG.'
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
        self,
        kind: str,
        file: str,
        record: str,
        detail: str,
        group: str = '',
        index: int = -1,
        effect: Effect | None = None,
    ) -> None:
        """Adds an issue; the arguments are the fields of :class:`Issue`."""
        self.issues.append(Issue(kind, file, record, detail, group, index, effect))

    def mark_stopping(self, kind: str, files: Collection[str]) -> None:
        """Declares that a run stops at the issues of a kind in some files, whose kind harms."""
        for place, issue in enumerate(self.issues):
            if issue.kind == kind and issue.file in files:
                self.issues[place] = replace(issue, own_effect=Effect.STOPS)

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

    def worst(self, *kinds: str) -> Effect | None:
        """The worst effect of some kinds, of all if none are given; None without issues."""
        found = {issue.effect for issue in self.issues if not kinds or issue.kind in kinds}
        return next((effect for effect in Effect if effect in found), None)

    def first(self, kind: str, limit: int) -> list[Issue]:
        """The first few issues of a kind."""
        return [issue for issue in self.issues if issue.kind == kind][:limit]
