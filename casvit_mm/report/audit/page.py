"""The report of a dataset audit: one HTML file that opens without a network."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from casvit.drawing.style import STYLE, Style
from casvit.files import write_whole
from casvit.names import printable
from casvit.results import Colour
from casvit.sentences import count_of
from casvit_mm.datasets.audit.classes.audit import ClassAudit
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.issues import KINDS, Effect, Issue, IssueList, Severity
from casvit_mm.report.audit import plots
from casvit_mm.report.audit.cards import Card
from casvit_mm.report.audit.charts import Chart
from casvit_mm.report.audit.sheet import class_sheet, mask_sheet, object_sheet

# Issues of each kind that are listed, and how many of them are not folded away.
SHOWN, OPEN = 20, 5
SAMPLES = 16
BADGES = {Effect.STOPS: 'stops', Effect.HARMS: 'harms', Effect.NONE: 'warning'}
CONSEQUENCES = {
    Effect.STOPS: 'A training run would stop at this dataset.',
    Effect.HARMS: 'A training run would learn less, nothing, or something else.',
    Effect.NONE: 'Warnings are worth knowing, and may be intended.',
}


def verdict(issues: IssueList) -> str:
    """Summarises the issues of an audit in one sentence."""
    errors, warnings = (len(issues.of(severity)) for severity in Severity)
    if errors:
        return f'{count_of(errors, "error")} and {count_of(warnings, "warning")}.'
    return f'No errors, {count_of(warnings, "warning")}.' if warnings else 'No issues found.'


def object_table(audit: ObjectAudit) -> list[list[str]]:
    """The contents of each split of a dataset of objects, with a header row."""
    rows = [['split', 'images', 'background images', 'objects', 'classes']]
    for name, fact in audit.facts.items():
        used = sum(1 for number in fact.objects.values() if number)
        objects = sum(fact.objects.values())
        counts = (fact.images, fact.empty, objects, used)
        rows.append([name, *(f'{count:,}' for count in counts)])
    return rows


def mask_table(audit: MaskAudit) -> list[list[str]]:
    """The contents of each split of a dataset with semantic masks, with a header row."""
    rows = [['split', 'images', 'classes', 'ignored']]
    for name, fact in audit.facts.items():
        used = sum(1 for number in fact.pixels.values() if number)
        rows.append([name, f'{fact.images:,}', f'{used:,}', f'{100 * fact.ignored:.1f} %'])
    return rows


def class_table(audit: ClassAudit) -> list[list[str]]:
    """The contents of each split of a dataset for classification, with a header row."""
    rows = [['split', 'images', 'classes']]
    for name, fact in audit.facts.items():
        used = sum(1 for number in fact.classes.values() if number)
        rows.append([name, f'{fact.images:,}', f'{used:,}'])
    return rows


def write_object_page(
    audit: ObjectAudit,
    file: Path,
    palette: Sequence[Colour],
    scales: plots.DetectorScales | None = None,
    seed: int = 0,
    style: Style = STYLE,
) -> None:
    """Writes the report of a dataset of objects.

    Args:
        audit: Its audit.
        file: The file to write.
        palette: RGB colour of each class.
        scales: The object sizes that the chosen detector looks for.
        seed: Random seed that selects the images.
        style: How to draw annotations.
    """
    facts = audit.facts
    frames = {name: fact.frames for name, fact in facts.items()}
    heat = np.sum([fact.heat for fact in facts.values()], axis=0)
    charts = [
        plots.class_histogram({name: fact.objects for name, fact in facts.items()}, 'objects'),
        plots.object_sizes({name: f.boxes for name, f in facts.items()}, frames, scales),
        plots.objects_per_image({name: fact.per_image for name, fact in facts.items()}),
        plots.image_sizes({name: fact.sizes for name, fact in facts.items()}),
        plots.heat_map(np.atleast_2d(heat)),
    ]
    cards = object_sheet(audit, SAMPLES, seed, palette, style)
    _write(file, audit, object_table(audit), audit.issues, cards, charts)


def write_mask_page(audit: MaskAudit, file: Path, seed: int = 0, style: Style = STYLE) -> None:
    """Writes the report of a dataset with semantic masks.

    Args:
        audit: The audit of the dataset.
        file: The file to write.
        seed: Random seed that selects the images.
        style: How to draw annotations.
    """
    facts = audit.facts
    charts = [
        plots.class_histogram({name: fact.pixels for name, fact in facts.items()}, 'pixels'),
        plots.class_histogram({name: fact.masks for name, fact in facts.items()}, 'images'),
        plots.image_sizes({name: fact.sizes for name, fact in facts.items()}),
    ]
    cards = mask_sheet(audit, SAMPLES, seed, style)
    _write(file, audit, mask_table(audit), audit.issues, cards, charts)


def write_class_page(audit: ClassAudit, file: Path, seed: int = 0) -> None:
    """Writes the report of a dataset for classification.

    Args:
        audit: Its audit.
        file: The file to write.
        seed: Random seed that selects the images.
    """
    facts = audit.facts
    charts = [
        plots.class_histogram({name: fact.classes for name, fact in facts.items()}, 'images'),
        plots.image_sizes({name: fact.sizes for name, fact in facts.items()}),
    ]
    cards = class_sheet(audit, SAMPLES, seed)
    _write(file, audit, class_table(audit), audit.issues, cards, charts)


def _write(
    file: Path,
    audit: ObjectAudit | MaskAudit | ClassAudit,
    table: list[list[str]],
    issues: IssueList,
    cards: list[Card],
    charts: Sequence[Chart | None],
) -> None:
    environment = Environment(
        loader=PackageLoader('casvit_mm', 'report/audit'), autoescape=select_autoescape(['html'])
    )
    style, script = (
        Path(__file__).with_name(name).read_text(encoding='utf-8')
        for name in ('page.css', 'page.js')
    )
    dataset = audit.dataset
    worst = issues.worst()
    named = [_card(card, f'image-{number}') for number, card in enumerate(cards, 1)]
    groups = [
        ('Images with issues', [card for card in named if card['findings']]),
        ('Random images', [card for card in named if not card['findings']]),
    ]
    page = environment.get_template('page.html').render(
        style=Markup(style),
        script=Markup(script),
        # The browser runs this script and no other.
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        title=printable(f'Data check: {dataset.root.name} ({dataset.format})'),
        root=printable(str(dataset.root.absolute())),
        verdict=verdict(issues),
        effect=worst.value if worst else '',
        consequence=CONSEQUENCES[worst] if worst else '',
        table=table,
        notes=[printable(note) for note in dataset.notes],
        issues=_listed(issues, dataset.root, cards),
        groups=groups,
        plots=[chart for chart in charts if chart is not None],
    )
    write_whole(file, page)


def _listed(issues: IssueList, root: Path, cards: Sequence[Card]) -> list[dict[str, Any]]:
    """The issues by kind, errors first."""
    shown: dict[str, str] = {}
    for number, card in enumerate(cards, 1):
        for finding in card.listed:
            shown.setdefault(finding.issue.kind, f'image-{number}')
    listed = []
    for kind, count in issues.counts().items():
        known = KINDS[kind]
        effect = issues.worst(kind) or known.effect
        first = [_issue(issue, root) for issue in issues.first(kind, SHOWN)]
        listed.append(
            dict(
                kind=kind,
                effect=effect.value,
                badge=BADGES[effect],
                title=known.title,
                advice=known.advice,
                count=f'{count:,}',
                first=first[:OPEN],
                next=first[OPEN:],
                more=f'{count - SHOWN:,}' if count > SHOWN else '',
                card=shown.get(kind, ''),
            )
        )
    return listed


def _issue(issue: Issue, root: Path) -> dict[str, str]:
    """The file of an issue, as short as possible, and what is wrong there."""
    path = Path(issue.file)
    relative = path.is_relative_to(root) and path != root
    file = str(path.relative_to(root)) if relative else issue.file
    return dict(file=printable(file), text=printable(f'{issue.record} {issue.detail}'.strip()))


def _card(card: Card, anchor: str) -> dict[str, Any]:
    return dict(
        id=anchor,
        file=printable(card.file),
        split=printable(card.split),
        contents=printable(card.contents),
        small=card.small,
        large=card.large,
        missing=card.missing,
        alt=printable(card.text),
        classes=[
            dict(name=printable(one.name), colour=one.colour, count=one.count)
            for one in card.classes
        ],
        findings=[
            dict(
                number=finding.number,
                effect=finding.issue.effect.value,
                badge=BADGES[finding.issue.effect],
                text=printable(finding.text),
            )
            for finding in card.listed
        ],
        more=card.more,
    )
