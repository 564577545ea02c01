"""Reads a checkpoint once, although a run first chooses it and then loads it."""

from typing import TYPE_CHECKING, Any

from casvit_mm.models.checkpoint import read_checkpoint
from casvit_mm.models.checkpoint.content.digests import Verification

if TYPE_CHECKING:
    from torch.serialization import MAP_LOCATION


class LastRead:
    """Reads checkpoints and keeps the last one, until it is taken.

    Args:
        weights: Which weights to use, as for
            :func:`casvit_mm.models.checkpoint.read_checkpoint`.

    Attributes:
        verification: How the last one was verified.
    """

    def __init__(self, weights: str = 'model') -> None:
        self.weights = weights
        self.verification = Verification.NONE
        self._kept: tuple[str, dict[str, Any]] | None = None

    def read(self, file: str) -> dict[str, Any]:
        """Reads a checkpoint and keeps it, in the memory of the CPU.

        Args:
            file: The file.

        Raises:
            CheckpointError: As for ``read_checkpoint``.
        """
        # Large ones: only one is kept at a time.
        self._kept = None
        self._kept = file, self._read(file, 'cpu')
        return self._kept[1]

    def take(self, file: str, map_location: 'MAP_LOCATION') -> dict[str, Any]:
        """Hands over the last one, or reads another.

        Args:
            file: The file.
            map_location: Device of the tensors if it is read; what was kept is on the CPU.

        Raises:
            CheckpointError: As for ``read_checkpoint``.
        """
        kept, self._kept = self._kept, None
        return kept[1] if kept and kept[0] == file else self._read(file, map_location)

    def _read(self, file: str, map_location: 'MAP_LOCATION') -> dict[str, Any]:
        return read_checkpoint(file, map_location, self.weights, tell=self._note)

    def _note(self, verification: Verification) -> None:
        self.verification = verification
