"""Batches that a run leaves out, after its numbers went wrong and it went back to a checkpoint."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

Spot = tuple[int, int]
"""A batch of a run: passes over the dataset before it, and batches before it in this pass. In a run
that counts iterations: 0, and batches before it in the run."""
STATE = 'run_state'
"""Key of the state of a run in a checkpoint."""
MOST = 10_000
"""Batches that a run can leave out."""


class RewindError(Exception):
    """Ends the current step of a loop, which goes on from an earlier checkpoint instead.

    Args:
        file: The checkpoint.
        rewind: What is recorded.
    """

    def __init__(self, file: str, rewind: 'Rewind') -> None:
        super().__init__(file)
        self.file, self.rewind = file, rewind


@dataclass(frozen=True)
class Rewind:
    """A return of a run to an earlier checkpoint of its own.

    Attributes:
        to: Steps behind the run in the checkpoint.
        left_out: Batches that are left out from there on.
    """

    to: int
    left_out: tuple[Spot, ...]

    def saved(self) -> dict[str, Any]:
        """The record as plain data, for a checkpoint."""
        return dict(to=self.to, left_out=[list(spot) for spot in self.left_out])

    def in_batches(self, before: int, now: int) -> 'Rewind':
        """The record for another number of images in a step: of all batches with such an image.

        Args:
            before: Images of a step.
            now: Images of a step of the run that goes on.
        """
        spots = (
            (epoch, each)
            for epoch, index in self.left_out
            for each in range(index * before // now, ((index + 1) * before - 1) // now + 1)
        )
        return Rewind(self.to, tuple(dict.fromkeys(islice(spots, MOST))))


def read_rewinds(saved: Any, steps: int) -> list[Rewind]:
    """The records that a checkpoint holds.

    Args:
        saved: What :meth:`Rewind.saved` gave for each.
        steps: Steps behind the run in the checkpoint.

    Raises:
        ValueError: It is something else, or more than a run leaves out.
    """
    if not isinstance(saved, list) or len(saved) > MOST:
        raise ValueError
    rewinds, total = [], 0
    for each in saved:
        spots = each.get('left_out') if isinstance(each, Mapping) else None
        if not isinstance(spots, list) or set(each) != {'to', 'left_out'}:
            raise ValueError
        total += len(spots)
        if total > MOST or not all(map(_is_spot, spots)) or not _is_count(each['to'], steps):
            raise ValueError
        rewinds.append(Rewind(each['to'], tuple((epoch, index) for epoch, index in spots)))
    return rewinds


def is_behind(rewinds: Iterable[Rewind], known: int, steps: int) -> bool:
    """Whether a run went through a checkpoint, rather than turning back before it.

    Args:
        rewinds: Those of the run.
        known: How many of them the checkpoint knows.
        steps: Steps behind the run in the checkpoint.
    """
    return all(steps <= rewind.to for rewind in list(rewinds)[known:])


def _is_spot(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


def _is_count(value: Any, most: int = 2**53) -> bool:
    return type(value) is int and 0 <= value <= most
