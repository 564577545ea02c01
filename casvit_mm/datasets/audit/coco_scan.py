"""The usable records of a COCO annotation file, and the issues of the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from casvit.sentences import short
from casvit_mm.datasets.formats.coco.file import RecordId
from casvit_mm.datasets.issues import Effect, IssueList
from casvit_mm.datasets.places import locate

Box = tuple[float, float, float, float]


@dataclass
class CocoScan:
    """The usable records of an annotation file, and the issues of the others.

    Attributes:
        file: Its path, as issues name it.
        images: Image records by id, with their position in the file.
        categories: Names by id, in the file's order.
        annotations: Annotations of known images and categories whose box is four finite numbers,
            with their position in the file.
        learnable: Number of objects that a training run learns from: not crowds, not ignored, and
            not dropped for their size.
        issues: All issues found.
    """

    file: str
    images: dict[RecordId, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    categories: dict[RecordId, str] = field(default_factory=dict)
    annotations: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    learnable: int = 0
    issues: IssueList = field(default_factory=IssueList)

    def add(
        self,
        kind: str,
        group: str,
        index: int,
        record: object,
        detail: str,
        effect: Effect | None = None,
    ) -> None:
        """Adds an issue with a record.

        Args:
            kind: Its kind.
            group: Name of the list that contains the record.
            index: Its position in that list.
            record: The record.
            detail: What is wrong with it.
            effect: Its effect, if it differs from that of its kind.
        """
        where = locate(self.file, group, index, record)
        self.issues.add(kind, *where, detail, group, index, effect)


def box_corners(box: Sequence[float]) -> Box:
    """Ordered corners ``x1, y1, x2, y2`` of a COCO box ``x, y, width, height``."""
    x, y, width, height = box
    return min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height)


def shown_box(box: Sequence[Any]) -> str:
    """A box as issues show it, rounded to hundredths of a pixel."""
    return short([round(v, 2) if isinstance(v, float) and v == v else v for v in box])
