"""The rules that class folders and lists have to follow; both the audit and a run ask them."""

import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from casvit.sentences import count_of, some
from casvit_mm.datasets.formats.classes import ClassSplit
from casvit_mm.datasets.issues import IssueList


def split_issues(split: ClassSplit) -> IssueList:
    """Checks the classes of one split, without looking at its images."""
    issues = IssueList(split.issues.issues)
    if split.file is None:
        _check_folders(split, issues)
    else:
        _check_list(split, issues)
    return issues


def order_issues(splits: Mapping[str, ClassSplit]) -> IssueList:
    """Compares the class folders of splits, whose sorted names number the classes.

    Args:
        splits: The splits by name; only their classes are looked at.
    """
    issues = IssueList()
    names = [name for name, split in splits.items() if split.file is None]
    for name in names[1:]:
        if splits[name].classes:
            _compare(splits[name], names[0], splits[names[0]], issues)
    return issues


def _check_list(split: ClassSplit, issues: IssueList) -> None:
    file = str(split.file)
    if not split.images and not split.issues.issues:
        issues.add('nothing-to-learn', file, '', 'is empty')
    elif split.images and len(split.names) < 2:
        detail = 'has only one class: a classifier needs two classes or more'
        issues.add('nothing-to-learn', file, '', detail)


def _check_folders(split: ClassSplit, issues: IssueList) -> None:
    folder, classes = str(split.folder), split.classes or []
    if not classes:
        found = f'only {count_of(split.loose, "image")}' if split.loose else 'nothing'
        detail = (
            f'has no class folders, {found}: put the images of every class into a folder of its '
            f'name ({split.folder / "cat" / "1.jpg"}), or list images and class indices in a text '
            'file (ann_file of a dataset in a config)'
        )
        issues.add('nothing-to-learn', folder, '', detail)
    elif len(classes) == 1:
        detail = (
            f'has only one class folder, {classes[0]!r}: a classifier needs two classes or more, '
            'each in a folder of its name'
        )
        issues.add('nothing-to-learn', folder, '', detail)
    filled = {image.label for image in split.images}
    endings: dict[int, Counter[str]] = {}
    for image in split.skipped:
        endings.setdefault(image.label, Counter())[Path(image.name).suffix.lower()] += 1
    for index, name in enumerate(classes):
        if index in filled:
            continue
        detail = f'has no images ({", ".join(split.extensions)})'
        if others := endings.get(index):
            detail += f', but {count_of(others.total(), "other image")} ({", ".join(others)})'
        issues.add('empty-class', str(split.folder / name), '', detail, 'classes', index)


def _compare(split: ClassSplit, other: str, first: ClassSplit, issues: IssueList) -> None:
    known, own = first.classes or [], split.classes or []
    if own == known or not known:
        return
    missing, added = (sorted(set(a) - set(b)) for a, b in ((known, own), (own, known)))
    parts = [
        f'only in {folder}: {some(names)}'
        for folder, names in ((first.folder, missing), (split.folder, added))
        if names
    ]
    same = {_plain(one): one for one in missing}
    alike = [f'{same[_plain(one)]!a} and {one!a}' for one in added if _plain(one) in same]
    if alike:
        parts.append(f'{some(alike, quoted=False)} differ only in how they are written')
    place = next((i for i, (a, b) in enumerate(zip(own, known, strict=False)) if a != b), -1)
    shifted = f', so class {place} is {own[place]!r} here and {known[place]!r} there'
    detail = (
        f'has other class folders than {other} ({"; ".join(parts)}): classes are numbered by the '
        f'sorted names of their folders{shifted if place >= 0 else ""}'
    )
    issues.add('class-order', str(split.folder), '', detail)


def _plain(name: str) -> str:
    return unicodedata.normalize('NFC', name).strip().casefold()
