"""Reads YOLO label files: boxes, polygons, rotated boxes and keypoints, one object per line."""

from collections.abc import Sequence
from pathlib import Path

from casvit.sentences import count_of, short
from casvit_mm.datasets.formats.objects import FoundObject, Objects
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.object_masks.shapes import check_near, numbers_of
from casvit_mm.datasets.text_files import TextFiles

# Boxes may end a little outside the image, but not twice as far.
HIGHEST_SHARE = 2
# Classes that are not named are numbered up to this one.
LAST_NUMBER = 9999
# Of a file that is something else; it may have millions of lines.
MOST_ISSUES = 1000
FEWEST_KEYPOINTS = 5


class LabelReader:
    """Reads label files, and counts what it leaves out or converts.

    Args:
        names: Names of the classes; None to number them.
        keypoints: Numbers of the keypoints of an object; 0 if unknown.
        texts: Reads the files.
    """

    def __init__(self, names: Sequence[str] | None, keypoints: int, texts: TextFiles) -> None:
        self.names, self.keypoints, self.texts = names, keypoints, texts
        self.in_pixels: list[tuple[str, str, str]] = []
        self.read = 0
        self._with_keypoints = 0
        self._with_score = 0
        self._corners = 0
        self._polygons = 0

    def notes(self) -> list[str]:
        """Says what was left out or converted."""
        found = [
            'YOLO files store no crowd flags and only one polygon per object: objects with several '
            'polygons were split up, or joined by a line, when the files were written.'
        ]
        if self._with_keypoints:
            found.append(
                f'{count_of(self._with_keypoints, "object")} with keypoints, which are dropped.'
            )
        if self._with_score:
            found.append(
                f'{count_of(self._with_score, "object")} with a sixth value after its box (a score '
                'or number), which is dropped.'
            )
        if self._corners and self._corners == self._polygons:
            found.append(
                f'{count_of(self._corners, "object")} with four corners: YOLO writes a rotated box '
                'and a polygon of four points alike, so they are read as polygons.'
            )
        return found

    def report_pixels(self, issues: IssueList) -> None:
        """Adds the objects in pixels to a list of issues: as one issue if they are many."""
        if self.in_pixels and len(self.in_pixels) * 5 >= self.read + len(self.in_pixels):
            file, place, detail = self.in_pixels[0]
            number = count_of(len(self.in_pixels), 'object')
            issues.add(
                'normalised-box',
                file,
                place,
                f"{detail}, and so on ({number}): coordinates look like pixels, YOLO's are shares "
                'of width and height from 0 to 1',
            )
        else:
            for file, place, detail in self.in_pixels:
                issues.add('unreadable-annotation', file, place, detail)

    def __call__(self, path: Path, size: tuple[int, int], issues: IssueList) -> Objects:
        """Reads a file.

        Args:
            path: The file.
            size: Width and height of its image.
            issues: The list to which lines that cannot be read are added.
        """
        objects = Objects()
        try:
            lines = self.texts.read(path).split('\n')
        except ValueError as error:
            issues.add('unreadable-annotation', str(path), '', str(error))
            return objects
        bad = 0
        for number, line in enumerate(lines, 1):
            values = line.split()
            if not values:
                continue
            place = f'line {number}'
            kind, detail = 'unreadable-annotation', ''
            try:
                label = _class_number(values[0])
                numbers = numbers_of(values[1:])
                if not 0 <= label < (LAST_NUMBER + 1 if self.names is None else len(self.names)):
                    kind, detail = 'unknown-category', self._unknown(label)
                elif found := self._shape(numbers, size):
                    box, polygon = found
                    name = f'class_{label}' if self.names is None else self.names[label]
                    shape = [polygon] if polygon else None
                    objects.found.append(FoundObject(name, place, box, shape))
                else:
                    self.in_pixels.append((str(path), place, f'is {short(line.strip())}'))
            except ValueError as error:
                detail = str(error)
            if detail:
                bad += 1
                if bad > MOST_ISSUES:
                    detail = f'is one of more than {MOST_ISSUES:,} lines that cannot be read: the '
                    detail += 'rest of the file is left out'
                issues.add(kind, str(path), place, detail)
                if bad > MOST_ISSUES:
                    break
        self.read += len(objects.found)
        return objects

    def _unknown(self, label: int) -> str:
        if self.names is None:
            return f'has class {short(label)}, and no file names the classes'
        return f'has class {short(label)}, but only {len(self.names)} are named, from 0'

    def _shape(
        self, values: list[float], size: tuple[int, int]
    ) -> tuple[list[float] | None, list[float] | None] | None:
        """The box and the polygon of a line, one of them None; None for a line in pixels.

        Raises:
            ValueError: It cannot be read.
        """
        width, height = size
        number = len(values)
        if self._has_keypoints(values):
            self._with_keypoints += 1
            values = values[:4]
        elif number == 5:
            self._with_score += 1
            values = values[:4]
        elif number < 4 or number % 2:
            raise ValueError(
                f'has {count_of(number, "number")} after the class: expected 4 (a box) or an even '
                'number from 6 (a polygon)'
            )
        if max(values) > HIGHEST_SHARE and min(values) >= 0 and max(values) <= 1 + max(size):
            return None
        check_near([value * max(size) for value in values], size)
        if len(values) > 4:
            self._polygons += 1
            self._corners += len(values) == 8
            return None, [v * (height if i % 2 else width) for i, v in enumerate(values)]
        x, y, w, h = values
        if w < 0 or h < 0:
            raise ValueError(f'has a negative width or height: {short(values)}')
        return [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height], None

    def _has_keypoints(self, values: list[float]) -> bool:
        number = len(values)
        if self.keypoints:
            return number == 4 + self.keypoints
        # Every third value of keypoints is 0, 1 or 2: whether it is visible.
        visible = values[6::3]
        return (
            number > 4
            and (number - 4) % 3 == 0
            and {0.0, 1.0, 2.0}.issuperset(visible)
            and (number % 2 == 1 or len(visible) >= FEWEST_KEYPOINTS)
        )


def _class_number(text: str) -> int:
    """The number of a class; some tools write it as 3.0."""
    try:
        value = float(text)
        if value.is_integer():
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f'has {short(text)} for a class, which is not a whole number')
