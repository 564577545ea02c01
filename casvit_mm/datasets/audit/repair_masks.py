"""Writes a repaired copy of a dataset with semantic masks, and lists every change."""

import shutil
from pathlib import Path

from PIL import Image

from casvit.names import safe_names
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.copies import copy_upright, free_name, write_copy
from casvit_mm.datasets.audit.masks import MaskAudit, read_labels
from casvit_mm.datasets.audit.repair_objects import describe_renames
from casvit_mm.datasets.audit.repair_options import DROP_IMAGE
from casvit_mm.datasets.formats.dataset import UNSPLIT

DROP_PAIR = DROP_IMAGE | {
    *('missing-label-map', 'unpaired-label-map', 'unreadable-label-map'),
    *('label-map-size', 'colour-map'),
}


def repair_masks(audit: MaskAudit, out: Path) -> list[str]:
    """Writes a copy of a dataset with semantic masks without its errors, as class indices.

    Args:
        audit: Its audit, for which the files were read.
        out: A new or empty folder; it gets ``images/<split>``, ``annotations/<split>``,
            ``classes.txt`` and ``changes.txt``. Ignored pixels are 255 in its semantic masks.

    Returns:
        The changes, one per line.

    Raises:
        DatasetError: ``out`` is not empty, or cannot be written.
    """

    def write(folder: Path) -> list[str]:
        changes: list[str] = []
        kinds = {(issue.kind, issue.file): issue for issue in audit.issues.issues}
        dropped = {i.file: i for i in audit.issues.issues if i.kind in DROP_PAIR}
        changes += [
            f'{issue}: all are written with 1 instead of {audit.foreground}, as the classes '
            f'{audit.classes[0]!r} and {audit.classes[1]!r}'
            for issue in audit.issues.issues
            if issue.kind == 'binary-mask'
        ]
        for name, pairs in audit.dataset.splits.items():
            split = 'train' if name == UNSPLIT else name
            images, masks = folder / 'images' / split, folder / 'annotations' / split
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
            taken: set[str] = set()
            for pair in pairs:
                reason = dropped.get(str(pair.image)) or dropped.get(str(pair.mask))
                if reason is not None:
                    changes.append(f'{reason}: left out')
                    continue
                if pair.image is None or pair.mask is None:
                    # Never: the audit has an issue for every incomplete pair.
                    continue
                stem = Path(free_name(f'{pair.image.stem}.png', taken)).stem
                target = images / f'{stem}{pair.image.suffix.lower()}'
                if issue := kinds.get(('rotated-picture', str(pair.image))):
                    copy_upright(pair.image, target)
                    changes.append(f'{issue}: written upright, without the EXIF orientation')
                else:
                    shutil.copy2(pair.image, target)
                _write_labels(audit, pair.mask, masks / f'{stem}.png')
                if issue := kinds.get(('label-value', str(pair.mask))):
                    changes.append(f'{issue}: these pixels are ignored ({IGNORE_INDEX})')
        renamed = safe_names(audit.classes)
        changes += describe_renames(audit.classes, renamed)
        names = '\n'.join(renamed)
        (folder / 'classes.txt').write_text(f'{names}\n', encoding='utf-8')
        return changes

    return write_copy(out, write)


def _write_labels(audit: MaskAudit, path: Path, target: Path) -> None:
    labels, _ = read_labels(path, audit.dataset.legend)
    Image.fromarray(audit.indices(labels)).save(target)
