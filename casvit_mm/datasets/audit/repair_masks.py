"""Repairs a dataset of semantic masks, in a copy, and says every change."""

import shutil
from pathlib import Path

from PIL import Image

from casvit.names import safe_names
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.copies import copy_upright, free_name, write_copy
from casvit_mm.datasets.audit.masks import MaskAudit, read_labels
from casvit_mm.datasets.audit.repair_objects import LOSE_IMAGE, said_renamed
from casvit_mm.datasets.formats.dataset import WHOLE

LOSE_PAIR = LOSE_IMAGE | {
    *('missing-label-map', 'unpaired-label-map', 'unreadable-label-map'),
    *('label-map-size', 'colour-map'),
}


def repair_masks(check: MaskAudit, out: Path) -> list[str]:
    """Writes a copy of a dataset of semantic masks without what is wrong in it, as index maps.

    Args:
        check: What its check found, with the files read.
        out: A new or empty folder; it gets ``images/<part>``, ``annotations/<part>``,
            ``classes.txt`` and ``changes.txt``. What is ignored is 255 in its maps.

    Returns:
        The changes, one a line.

    Raises:
        DatasetError: ``out`` holds something, or cannot be written.
    """

    def write(folder: Path) -> list[str]:
        changes: list[str] = []
        kinds = {(issue.kind, issue.file): issue for issue in check.issues.issues}
        lost = {f.file: f for f in check.issues.issues if f.kind in LOSE_PAIR}
        changes += [
            f'{issue}: all are written with 1 in place of {check.foreground}, as the classes '
            f'{check.classes[0]!r} and {check.classes[1]!r}'
            for issue in check.issues.issues
            if issue.kind == 'binary-mask'
        ]
        for name, pairs in check.dataset.splits.items():
            part = 'train' if name == WHOLE else name
            images, maps = folder / 'images' / part, folder / 'annotations' / part
            images.mkdir(parents=True)
            maps.mkdir(parents=True)
            taken: set[str] = set()
            for pair in pairs:
                gone = lost.get(str(pair.image)) or lost.get(str(pair.label_map))
                if gone is not None:
                    changes.append(f'{gone}: left out')
                    continue
                stem = Path(free_name(f'{pair.image.stem}.png', taken)).stem
                target = images / f'{stem}{pair.image.suffix.lower()}'
                if issue := kinds.get(('rotated-picture', str(pair.image))):
                    copy_upright(pair.image, target)
                    changes.append(f'{issue}: written upright, without the EXIF orientation')
                else:
                    shutil.copy2(pair.image, target)
                _write_labels(check, pair.label_map, maps / f'{stem}.png')
                if issue := kinds.get(('label-value', str(pair.label_map))):
                    changes.append(f'{issue}: these pixels are ignored ({IGNORE_INDEX})')
        renamed = safe_names(check.classes)
        changes += said_renamed(check.classes, renamed)
        names = '\n'.join(renamed)
        (folder / 'classes.txt').write_text(f'{names}\n', encoding='utf-8')
        return changes

    return write_copy(out, write)


def _write_labels(check: MaskAudit, path: Path, target: Path) -> None:
    labels, _ = read_labels(path, check.dataset.legend)
    Image.fromarray(check.indices(labels)).save(target)
