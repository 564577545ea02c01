"""How results are drawn: widths, letters, and what is shown."""

from dataclasses import dataclass

# Longer side, in pixels, to which small images are enlarged, and the largest factor.
LEGIBLE, LARGEST_FACTOR = 640, 16
LINES, LETTERS = (2, 6), (12, 36)


@dataclass(frozen=True)
class Style:
    """How results are drawn.

    Attributes:
        line_width: Width of lines in pixels of the drawn image; None to choose it by the size.
        font_size: Height of letters in pixels of the drawn image; None to choose it by the size.
        labels: Whether to write class names and scores.
        boxes: Whether to draw boxes.
        enlarged: Whether files of small images are enlarged, so that letters are legible.
        legend: Whether files get a legend below the image, if they need one.
    """

    line_width: int | None = None
    font_size: int | None = None
    labels: bool = True
    boxes: bool = True
    enlarged: bool = True
    legend: bool = True

    def factor(self, height: int, width: int) -> int:
        """The whole number by which an image is enlarged.

        Args:
            height: Height of the image.
            width: Width of the image.
        """
        if not self.enlarged:
            return 1
        return max(1, min(LARGEST_FACTOR, round(LEGIBLE / max(height, width))))

    def sizes(
        self, height: int, width: int, tile: int | None = None, scale: float = 1
    ) -> tuple[int, int]:
        """Width of lines and height of letters, in pixels.

        Args:
            height: Height of the drawn image.
            width: Width of the drawn image.
            tile: Side of the tiles with which it was predicted: lines and letters then are those
                of an image of a tile's size, since objects are as small as there.
            scale: Factor of both, unless the style sets them.
        """
        side = max(height, width) if tile is None else min(tile, max(height, width))
        line = max(LINES[0], min(LINES[1], round(side / 320)))
        letters = max(LETTERS[0], min(LETTERS[1], round(6 + side * 0.012)))
        return (
            self.line_width or max(1, round(scale * line)),
            self.font_size or round(scale * letters),
        )


STYLE = Style()
