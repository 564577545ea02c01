"""Reads an image and its semantic mask, for the audit of both."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from casvit_mm.datasets.audit.images import ImageFile, inspect_image
from casvit_mm.datasets.audit.mask_values import describe_format, describe_noise
from casvit_mm.datasets.mask_files import (
    ColourMaskError,
    Legend,
    MaskContent,
    UnreadableMaskError,
    mask_content,
    mask_header,
)


class MaskPair(NamedTuple):
    """An image and its semantic mask, neither of which is missing."""

    split: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class PairResult:
    """Findings for one pair."""

    image: ImageFile
    mask_issue: str = ''
    reason: str = ''
    content: MaskContent | None = None


def inspect_pair(pair: MaskPair, legend: Legend | None) -> PairResult:
    """Reads an image and its semantic mask; nothing is raised for damaged files."""
    image = inspect_image(pair.image)
    try:
        content = mask_content(pair.mask, legend, noise=True)
    except ColourMaskError as error:
        if lossy := mask_header(pair.mask).lossy:
            return PairResult(image, 'lossy-mask', describe_format(lossy))
        return PairResult(image, 'colour-map', str(error))
    except UnreadableMaskError as error:
        return PairResult(image, 'unreadable-label-map', str(error))
    lossy = describe_noise(content) if legend is None or content.header.lossy else ''
    return PairResult(image, 'lossy-mask' if lossy else '', lossy, content)
