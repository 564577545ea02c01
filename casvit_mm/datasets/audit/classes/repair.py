"""Writes a repaired copy of a dataset for classification, and lists every change."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
from PIL import Image

from casvit.errors import DatasetError
from casvit.names import safe_names
from casvit_mm.datasets.audit.classes.audit import ClassAudit, find_near
from casvit_mm.datasets.audit.copies import copy_scaled, copy_whole, free_name, write_copy
from casvit_mm.datasets.audit.images import inspect_image
from casvit_mm.datasets.audit.repair_options import DROP_IMAGE, Loss, RepairOptions
from casvit_mm.datasets.decoding import decode
from casvit_mm.datasets.formats.classes import MOST_REPORTED, ClassImage, ClassSplit
from casvit_mm.datasets.formats.dataset import UNSPLIT
from casvit_mm.datasets.image_files import image_format
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.similar_names import SimilarNames

Copy = Callable[[Path, Path], None]
# The images to copy by class: each with its new name and how it is copied.
Plan = dict[str, list[tuple[Path, str, Copy]]]
DROPPED = DROP_IMAGE | {'class-conflict'}
# Suffixes that a run reads, by Pillow's name of the format.
SUFFIXES = {'JPEG': '.jpg', 'PNG': '.png', 'TIFF': '.tif', 'BMP': '.bmp', 'PPM': '.ppm'}
ADVICE = {
    'class-conflict': 'To keep these images, leave each of them in its right class only.',
    'class-order': 'To keep these classes, move some of their images to the other splits.',
}


def repair_classes(audit: ClassAudit, out: Path, options: RepairOptions | None = None) -> list[str]:
    """Writes a copy of a dataset for classification with its errors repaired.

    Args:
        audit: Its audit, for which the images were read.
        out: A new or empty folder; it gets ``<split>/<class>`` with the images, and
            ``changes.txt``. Images of no split are written to ``train``.
        options: Repairs that have to be asked for; lossless ones alone if None.

    Returns:
        The changes, one per line.

    Raises:
        DatasetError: ``out`` is not empty, or cannot be written; more images than allowed would be
            left out, or all of a split.
    """
    options = options or RepairOptions()
    repair = _Repair(audit, options)
    changes = repair.changes
    folders = _folder_names(audit.classes)
    if not all(map(str.isdecimal, audit.classes)):
        changes += [
            f'The class {old!a} is written as {new!r}.'
            for old, new in folders.items()
            if old != new
        ]
    written = [folders[name] for name in repair.kept]
    if written != sorted(written) or repair.kept != audit.classes[: len(written)]:
        changes.append('The classes have other numbers now: those of the sorted folders.')

    def write(folder: Path) -> list[str]:
        for split, plan in repair.plans.items():
            for name, images in plan.items():
                place = folder / split / folders[name]
                for source, target, copy in images:
                    (place / target).parent.mkdir(parents=True, exist_ok=True)
                    copy(source, place / target)
        return list(dict.fromkeys(changes))

    return write_copy(out, write)


class _Repair:
    """Plans a repair; nothing is written.

    Attributes:
        plans: The images to copy by split.
        kept: The classes that are kept.
        changes: What is changed, one sentence each.
    """

    def __init__(self, audit: ClassAudit, options: RepairOptions) -> None:
        self.audit, self.options = audit, options
        self.changes: list[str] = []
        self.loss = Loss('image', 0, {})
        self.issues: dict[tuple[str, str], dict[str, Issue]] = {}
        for issue in audit.issues.issues:
            self.issues.setdefault((issue.file, issue.record), {})[issue.kind] = issue
        self.similar = SimilarNames()
        self.plans = {
            'train' if name == UNSPLIT else name: self._plan(split)
            for name, split in audit.dataset.splits.items()
        }
        self.kept = self._leave_out_classes()
        self.loss.refuse_above(options.allow_loss, ADVICE)

    def _plan(self, split: ClassSplit) -> Plan:
        plan, taken = Plan(), dict[str, set[str]]()
        self.loss.total += len(split.images) + len(split.skipped) + split.unread
        for issue in split.issues.issues:
            if issue.record:
                self.loss.add(issue.kind)
                self.changes.append(f'{issue}: left out')
            else:
                self.changes.append(f'{issue}: written as folders')
        if split.unread > MOST_REPORTED:
            self.loss.add('broken-record', split.unread - MOST_REPORTED)
        for image in split.images:
            name = split.class_of(image)
            found = self._image(split, image)
            if found is not None:
                source, copy = found
                wanted = _below_class(split, image, source)
                target = free_name(wanted, taken.setdefault(name, set()))
                plan.setdefault(name, []).append((source, target, copy))
        for image in split.skipped:
            name, source = split.class_of(image), split.path(image)
            issue = self.issues[str(source), '']['skipped-picture']
            read = inspect_image(source)
            if read.issue:
                self._lose(issue, f'left out, it {read.reason}')
                continue
            suffix, copy = _readable(source)
            wanted = str(Path(_below_class(split, image, source)).with_suffix(suffix))
            target = free_name(wanted, taken.setdefault(name, set()))
            self.changes.append(f'{issue}: written as {target}')
            plan.setdefault(name, []).append((source, target, copy))
        return plan

    def _image(self, split: ClassSplit, image: ClassImage) -> tuple[Path, Copy] | None:
        """The file to copy, and how; None if it is left out."""
        source = split.path(image)
        kinds = dict(self.issues.get((str(source), f'line {image.line}' if image.line else ''), {}))
        if 'missing-picture' in kinds:
            near = find_near(self.audit.dataset.root, source, self.similar)
            if near is not None:
                self.changes.append(f'{kinds.pop("missing-picture")}: copied from {near.name}')
                source = near
        dropped = next((kinds[kind] for kind in kinds if kind in DROPPED), None)
        if dropped is not None and dropped.kind != 'same-picture':
            self._lose(dropped)
            return None
        if dropped is not None or 'listed-twice' in kinds:
            # It stays in another split, or as the first one in the list.
            self.changes.append(f'{dropped or kinds["listed-twice"]}: left out here')
            return None
        if self.options.bits and inspect_image(source).peak is not None:
            self.changes.append(f'{source}: scaled from {self.options.bits} to 16 bits')
            return source, partial(copy_scaled, bits=self.options.bits)
        return source, copy_whole

    def _lose(self, issue: Issue, change: str = 'left out') -> None:
        self.loss.add(issue.kind)
        self.changes.append(f'{issue}: {change}')

    def _leave_out_classes(self) -> list[str]:
        """Leaves out classes that a split does not have; returns the others.

        Raises:
            DatasetError: A split would have no images.
        """
        for name, plan in self.plans.items():
            if not plan:
                raise DatasetError(
                    f'Nothing can be repaired in the split {name}: all of its images would be left '
                    'out, because they cannot be read, or are in no class or in several. Add '
                    'images, or remove the split.'
                )
        kept = [
            name for name in self.audit.classes if all(name in plan for plan in self.plans.values())
        ]
        for name in self.audit.classes:
            if name in kept:
                continue
            number = sum(len(plan.pop(name, ())) for plan in self.plans.values())
            reason = 'not every split has images of it'
            self.changes.append(f'The class {name!r} is left out: {reason}.')
            if number:
                self.loss.add('class-order', number)
        if not kept:
            raise DatasetError(
                'Nothing can be repaired: no class has images in every split '
                f'({" and ".join(self.plans)}). Move some images of each class to the other '
                'splits.'
            )
        return kept


def _below_class(split: ClassSplit, image: ClassImage, source: Path) -> str:
    """The path of an image in the folder of its class."""
    if split.file is not None:
        return source.name
    return Path(*Path(image.name).parts[1:-1], source.name).as_posix()


def _readable(source: Path) -> tuple[str, Copy]:
    """A suffix that a run reads, and how to copy an image to a file with it."""
    try:
        with Image.open(source) as image:
            suffix = SUFFIXES.get(image_format(image), '')
    except Exception:
        # Pillow's parsers raise all kinds of exceptions for formats that only OpenCV reads.
        suffix = ''
    return (suffix, copy_whole) if suffix else ('.png', _copy_as_png)


def _copy_as_png(source: Path, target: Path) -> None:
    """Writes the pixels that a run reads from an image."""
    pixels = decode(source.read_bytes())
    assert pixels is not None, source
    cv2.imencode('.png', pixels)[1].tofile(target)


def _folder_names(classes: list[str]) -> dict[str, str]:
    """Names of folders that are safe, unique, and sorted by number if the classes are numbers."""
    wanted = safe_names(classes)
    if all(name.isdecimal() for name in classes):
        digits = max(map(len, wanted), default=0)
        wanted = [name.zfill(digits) for name in wanted]
    folders: dict[str, str] = {}
    for name, plain in zip(classes, wanted, strict=True):
        folder = re.sub(r'[/\\]', '_', plain).strip('. ') or 'class'
        while folder in folders.values():
            folder += '_'
        folders[name] = folder
    return folders
