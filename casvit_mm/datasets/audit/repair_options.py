"""What a repair may do beyond lossless changes, and how much it may leave out."""

from collections.abc import Mapping
from dataclasses import dataclass

from casvit.errors import DatasetError
from casvit.sentences import count_of
from casvit_mm.datasets.issues import KINDS

ALLOWED = 0.01
DROP_IMAGE = frozenset(
    ('missing-picture', 'unreadable-picture', 'truncated-picture', 'same-picture')
)


@dataclass(frozen=True)
class RepairOptions:
    """Repairs that have to be asked for.

    Attributes:
        crowd_as_objects: Whether objects with the crowd flag become ordinary objects.
        boxes_from_masks: Whether boxes are taken from the masks of their objects.
        bits: Number of bits in use in images of 16 bits, which are then scaled up to 16; None to
            leave them as they are.
        allow_loss: The largest share of images or objects that may be left out.
    """

    crowd_as_objects: bool = False
    boxes_from_masks: bool = False
    bits: int | None = None
    allow_loss: float = ALLOWED


@dataclass
class Loss:
    """What a repair would leave out.

    Attributes:
        what: What is counted: ``image``.
        total: Their number.
        kinds: Number that is left out, by kind of issue.
    """

    what: str
    total: int
    kinds: dict[str, int]

    def add(self, kind: str, number: int = 1) -> None:
        """Counts something that is left out."""
        self.kinds[kind] = self.kinds.get(kind, 0) + number

    def refuse_above(self, share: float, advice: Mapping[str, str]) -> None:
        """Checks that not too much is left out.

        Args:
            share: The largest share allowed.
            advice: What to do about some kinds of issues.

        Raises:
            DatasetError: It is more; the message says why, and how to go on.
        """
        lost = sum(self.kinds.values())
        if lost <= share * self.total:
            return
        listed = ', '.join(
            f'{number:,} x {KINDS[kind].title}'
            for kind, number in sorted(self.kinds.items(), key=lambda item: -item[1])
        )
        hints = ''.join(f'{advice[kind]} ' for kind in self.kinds if kind in advice)
        raise DatasetError(
            f'The repair would leave out {lost:,} of {count_of(self.total, self.what)}: {listed}. '
            f'That is more than {100 * share:g} %, so nothing was written. '
            f'{hints}To accept it, add --allow-loss {_enough(lost, self.total):g}.'
        )


def _enough(lost: int, total: int) -> float:
    """The share to allow, rounded up to two digits after the point."""
    return min(1.0, -(-100 * lost // max(total, 1)) / 100)
