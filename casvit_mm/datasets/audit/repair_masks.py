"""Writes a repaired copy of a dataset with semantic masks, and lists every change."""

from collections import Counter
from pathlib import Path

from casvit.errors import DatasetError
from casvit.names import safe_names
from casvit.sentences import count_of
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.copies import (
    copy_scaled,
    copy_upright,
    copy_whole,
    free_name,
    write_copy,
)
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.repair_objects import describe_renames
from casvit_mm.datasets.audit.repair_options import ALLOWED
from casvit_mm.datasets.formats.dataset import UNSPLIT, Pair
from casvit_mm.datasets.issues import KINDS, Issue

# The image, or all that it could be trained on, is lost with these.
LOST = frozenset(
    (
        *('missing-picture', 'unreadable-picture', 'truncated-picture', 'missing-label-map'),
        *('unpaired-label-map', 'unreadable-label-map', 'label-map-size', 'colour-map'),
        'lossy-mask',
    )
)
# The same image stays in another split.
DROP_PAIR = LOST | {'same-picture'}
MISREAD = ('binary-mask', 'spread-values')


def repair_masks(
    audit: MaskAudit, out: Path, *, allow_loss: float = ALLOWED, bits: int | None = None
) -> list[str]:
    """Writes a copy of a dataset with semantic masks without its errors, as class indices.

    Args:
        audit: Its audit, for which the files were read.
        out: A new or empty folder; it gets ``images/<split>``, ``annotations/<split>``,
            ``classes.txt`` and ``changes.txt``. Ignored pixels are 255 in its semantic masks.
            Images of no split are written to ``train``.
        allow_loss: Largest share of the images that may be lost: left out, or with pixels that
            become ignored.
        bits: As for :class:`RepairOptions`.

    Returns:
        The changes, one per line.

    Raises:
        DatasetError: More would be lost, or nothing would remain; what the values mean is not
            known; or ``out`` is not empty, or cannot be written.
    """
    if audit.needs:
        raise DatasetError(f'The semantic masks cannot be repaired yet: {audit.needs}.')
    dropped = {i.file: i for i in audit.issues.issues if i.kind in DROP_PAIR}
    merged: dict[str, list[Pair]] = {}
    for name, pairs in audit.dataset.splits.items():
        merged.setdefault('train' if name == UNSPLIT else name, []).extend(pairs)
    _check_loss(audit, merged, dropped, allow_loss)

    def write(folder: Path) -> list[str]:
        kinds = {(issue.kind, issue.file): issue for issue in audit.issues.issues}
        changes = _general_changes(audit, bits)
        for split, pairs in merged.items():
            images, masks = folder / 'images' / split, folder / 'annotations' / split
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
            taken: set[str] = set()
            for pair in pairs:
                if reason := _reason(pair, dropped):
                    changes.append(f'{reason}: left out')
                    continue
                if pair.image is None or pair.mask is None:
                    # Never: the audit has an issue for every incomplete pair.
                    continue
                stem = Path(free_name(f'{pair.image.stem}.png', taken)).stem
                target = images / f'{stem}{pair.image.suffix.lower()}'
                if stem != pair.image.stem:
                    changes.append(f'{pair.image}: written as {split}/{target.name}')
                if issue := kinds.get(('rotated-picture', str(pair.image))):
                    copy_upright(pair.image, target)
                    changes.append(f'{issue}: written upright, without the EXIF orientation')
                elif bits:
                    copy_scaled(pair.image, target, bits)
                else:
                    copy_whole(pair.image, target)
                audit.write_indices(pair.mask, masks / f'{stem}.png')
                issue = kinds.get(('label-value', str(pair.mask)))
                if issue is not None and pair.mask in audit.outside:
                    changes.append(f'{issue}: these pixels are ignored ({IGNORE_INDEX})')
        renamed = safe_names(audit.classes)
        changes += describe_renames(audit.classes, renamed)
        names = '\n'.join(renamed)
        (folder / 'classes.txt').write_text(f'{names}\n', encoding='utf-8')
        # An image that is in two splits has one issue, and may be left out of both.
        return list(dict.fromkeys(changes))

    return write_copy(out, write)


def _general_changes(audit: MaskAudit, bits: int | None) -> list[str]:
    """The changes that concern all masks."""
    changes = []
    for issue in audit.issues.issues:
        if issue.kind in MISREAD:
            pairs = [
                f'{index} ({audit.classes[index]!r}) instead of {value}'
                for value, index in sorted(audit.mapping.items())
                if index != IGNORE_INDEX and index != value
            ]
            text = f'all are written with {", ".join(pairs)}'
            if issue.kind == 'binary-mask':
                value = max(v for v, index in audit.mapping.items() if index == 1)
                text = (
                    f'all are written with 1 instead of {value}, as the classes '
                    f'{audit.classes[0]!r} and {audit.classes[1]!r}'
                )
            changes.append(f'{issue}: {text}')
    if bits:
        changes.append(f'Images of 16 bits are scaled from {bits} bits.')
    if len(audit.classes) > len(audit.dataset.classes) and audit.dataset.named:
        changes.append(f'The class {audit.classes[0]!r} is added for the value 0.')
    if audit.rewritten:
        changes.append(
            f'{count_of(len(audit.rewritten), "semantic mask")} with several equal channels: '
            'written with one.'
        )
    if audit.dataset.values is not None:
        changes.append('The values of the semantic masks are replaced by class indices from 0.')
    return changes


def _reason(pair: Pair, dropped: dict[str, Issue]) -> Issue | None:
    """The issue for which a pair is left out."""
    return dropped.get(str(pair.image)) or dropped.get(str(pair.mask))


def _check_loss(
    audit: MaskAudit,
    merged: dict[str, list[Pair]],
    dropped: dict[str, Issue],
    allow_loss: float,
) -> None:
    """Raises DatasetError if too much would be lost, or nothing remain in a split."""
    total = sum(map(len, merged.values()))
    kinds: Counter[str] = Counter()
    lost = 0.0
    for split, pairs in merged.items():
        reasons = [_reason(pair, dropped) for pair in pairs]
        if all(reasons):
            kinds = Counter(reason.kind for reason in reasons if reason)
            raise DatasetError(
                f'Nothing can be repaired in the split {split}: all of its '
                f'{count_of(len(pairs), "image")} would be left out ({_listed(kinds)}).'
                f'{_advice(kinds)}'
            )
        for pair, reason in zip(pairs, reasons, strict=True):
            if reason is not None:
                lost += reason.kind in LOST
                kinds[reason.kind] += reason.kind in LOST
            elif pair.mask in audit.outside:
                lost += audit.outside[pair.mask]
                kinds['label-value'] += 1
    if lost > allow_loss * total:
        raise DatasetError(
            f'The repair would lose {lost:.3g} of {count_of(total, "image")} ({_listed(+kinds)}), '
            f'more than the share {allow_loss:g} that is allowed.{_advice(kinds)} To accept the '
            f'loss, use --allow-loss {_rounded_up(lost / total)}.'
        )


def _listed(kinds: Counter[str]) -> str:
    return ', '.join(f'{number:,} x {KINDS[kind].title}' for kind, number in kinds.items())


def _advice(kinds: Counter[str]) -> str:
    text = ''
    if kinds['lossy-mask']:
        text += ' A lossy mask cannot be restored: export the masks again, as PNG.'
    if kinds['colour-map']:
        text += ' Colours need a legend: --legend FILE.'
    if kinds['label-value']:
        text += ' Pixels outside the classes would be ignored: name the classes that are missing.'
    return text


def _rounded_up(share: float) -> str:
    return f'{min(1.0, -(-share * 100 // 1) / 100):g}'
