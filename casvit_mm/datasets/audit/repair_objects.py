"""Writes a repaired copy of a dataset of objects, and lists every change."""

import json
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit.names import name_issue, safe_names
from casvit_mm.datasets.audit.copies import write_copy
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.audit.repair_options import Loss, RepairOptions
from casvit_mm.datasets.audit.repair_split import SplitRepair
from casvit_mm.datasets.formats.dataset import UNSPLIT
from casvit_mm.datasets.issues import KINDS

# What a copy would hide: annotations that were never read.
UNKNOWN_LOSS = ('unused-annotation-file', 'missing-split')
ADVICE = {
    'no-mask': 'For boxes alone, use --task detection.',
}


def repair_objects(
    audit: ObjectAudit, out: Path, options: RepairOptions | None = None
) -> list[str]:
    """Writes a copy of a dataset of objects with its errors repaired, as far as nothing is lost.

    Args:
        audit: Its audit, for which the images were read.
        out: A new or empty folder; it gets ``annotations/instances_<split>.json`` with the fields
            that COCO defines, the images of each split in a folder of that name, and
            ``changes.txt``.
        options: Repairs that have to be asked for; lossless ones alone if None.

    Returns:
        The changes, one per line.

    Raises:
        DatasetError: ``out`` is not empty, or cannot be written; or more images or objects than
            allowed would be left out.
    """
    options = options or RepairOptions()
    for issue in audit.dataset.issues.issues:
        if issue.kind in UNKNOWN_LOSS:
            raise DatasetError(
                f'The dataset cannot be repaired while it has {KINDS[issue.kind].title}: {issue}.'
            )
    unread = {
        issue.file: issue
        for issue in audit.dataset.issues.issues
        if issue.kind == 'unreadable-annotation' and not issue.record
    }
    classes = list(audit.classes)
    repairs = {
        name: SplitRepair(
            audit.scans[name], split, audit.dataset.root, classes, audit.masks, options, unread
        )
        for name, split in audit.dataset.splits.items()
    }
    _refuse_losses(audit, list(repairs.values()), options.allow_loss)
    for name, repair in repairs.items():
        if not repair.images:
            kinds = audit.scans[name].issues.counts()
            listed = ', '.join(f'{n:,} x {KINDS[k].title}' for k, n in kinds.items())
            raise DatasetError(f'The repair would leave no image in the split {name}: {listed}.')
    renamed = safe_names(classes)
    changes = list(audit.dataset.changes)
    changes += [f'{issue}: not read' for issue in audit.dataset.issues.issues]
    for repair in repairs.values():
        changes += repair.changes
    changes = list(dict.fromkeys(changes)) + describe_renames(classes, renamed)

    def write(folder: Path) -> list[str]:
        (folder / 'annotations').mkdir()
        for name, repair in repairs.items():
            split = 'train' if name == UNSPLIT else name
            (folder / split).mkdir()
            for image in repair.images:
                target = folder / split / image.name
                target.parent.mkdir(parents=True, exist_ok=True)
                image.copy(image.source, target)
            content: dict[str, Any] = dict(repair.content)
            content['categories'] = [dict(id=i, name=n) for i, n in enumerate(renamed, 1)]
            file = folder / 'annotations' / f'instances_{split}.json'
            file.write_text(json.dumps(content, allow_nan=False), encoding='utf-8')
        return changes

    return write_copy(out, write)


def describe_renames(classes: list[str], renamed: list[str]) -> list[str]:
    """The renamed classes, one per line."""
    return [
        f'The class {old!a}, whose name {name_issue(old)}, is renamed to {new!r}.'
        for old, new in zip(classes, renamed, strict=True)
        if old != new
    ]


def _refuse_losses(audit: ObjectAudit, repairs: list[SplitRepair], allowed: float) -> None:
    images, objects = Loss('image', 0, {}), Loss('object', 0, {})
    for repair in repairs:
        for total, part in ((images, repair.lost_images), (objects, repair.lost_objects)):
            total.total += part.total
            for kind, number in part.kinds.items():
                total.add(kind, number)
    for issue in audit.dataset.issues.issues:
        # Records that the reader left out.
        if issue.record and issue.severity.value == 'error':
            objects.total += 1
            objects.add(issue.kind)
    images.refuse_above(allowed, ADVICE)
    objects.refuse_above(allowed, ADVICE)
