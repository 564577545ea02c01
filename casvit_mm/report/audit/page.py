"""The report of a dataset audit: one HTML file that opens without a network."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from casvit.files import write_whole
from casvit.names import printable
from casvit.results import Colour
from casvit.sentences import count_of
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.issues import KINDS, IssueList, Severity
from casvit_mm.report.audit import plots
from casvit_mm.report.audit.sheet import mask_sheet, object_sheet

SHOWN = 20
SAMPLES = 16


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


def write_object_page(
    audit: ObjectAudit,
    file: Path,
    palette: Sequence[Colour],
    scales: plots.DetectorScales | None = None,
    seed: int = 0,
) -> None:
    """Writes the report of a dataset of objects.

    Args:
        audit: Its audit.
        file: The file to write.
        palette: RGB colour of each class.
        scales: The object sizes that the chosen detector looks for.
        seed: Random seed that selects the images.
    """
    facts = audit.facts
    frames = {name: fact.frames for name, fact in facts.items()}
    drawn = [
        plots.class_histogram({name: fact.objects for name, fact in facts.items()}, 'objects'),
        plots.object_sizes({name: f.boxes for name, f in facts.items()}, frames, scales),
        plots.objects_per_image({name: fact.per_image for name, fact in facts.items()}),
        plots.image_sizes({name: fact.sizes for name, fact in facts.items()}),
        plots.heat_map(np.sum([fact.heat for fact in facts.values()], axis=0)),
    ]
    sheet = object_sheet(audit, SAMPLES, seed, palette)
    _write(
        file,
        title=f'Data check: {audit.dataset.root.name} ({audit.dataset.format})',
        root=str(audit.dataset.root.absolute()),
        table=object_table(audit),
        notes=audit.dataset.notes,
        issues=audit.issues,
        sheet=sheet,
        drawn=drawn,
    )


def write_mask_page(audit: MaskAudit, file: Path, seed: int = 0) -> None:
    """Writes the report of a dataset with semantic masks.

    Args:
        audit: Its audit.
        file: The file to write.
        seed: Random seed that selects the images.
    """
    facts = audit.facts
    drawn = [
        plots.class_histogram({name: fact.pixels for name, fact in facts.items()}, 'pixels'),
        plots.class_histogram({name: fact.masks for name, fact in facts.items()}, 'images'),
        plots.image_sizes({name: fact.sizes for name, fact in facts.items()}),
    ]
    _write(
        file,
        title=f'Data check: {audit.dataset.root.name} ({audit.dataset.format})',
        root=str(audit.dataset.root.absolute()),
        table=mask_table(audit),
        notes=audit.dataset.notes,
        issues=audit.issues,
        sheet=mask_sheet(audit, SAMPLES, seed) if audit.classes else b'',
        drawn=drawn,
    )


def _write(
    file: Path,
    *,
    title: str,
    root: str,
    table: list[list[str]],
    notes: list[str],
    issues: IssueList,
    sheet: bytes,
    drawn: list[bytes],
) -> None:
    listed = []
    for kind, count in issues.counts().items():
        known = KINDS[kind]
        listed.append(
            dict(
                severity=known.severity.value,
                title=known.title,
                advice=known.advice,
                count=f'{count:,}',
                first=[printable(str(issue)) for issue in issues.first(kind, SHOWN)],
                more=max(0, count - SHOWN),
            )
        )
    environment = Environment(
        loader=PackageLoader('casvit_mm', 'report/audit'), autoescape=select_autoescape(['html'])
    )
    page = environment.get_template('page.html').render(
        title=printable(title),
        root=printable(root),
        table=table,
        notes=[printable(note) for note in notes],
        verdict=verdict(issues),
        verdict_kind=next((s.value for s in Severity if issues.of(s)), 'good'),
        issues=listed,
        sheet=f'data:image/jpeg;base64,{b64encode(sheet).decode()}' if sheet else '',
        plots=[f'data:image/png;base64,{b64encode(plot).decode()}' for plot in drawn],
    )
    write_whole(file, page)
