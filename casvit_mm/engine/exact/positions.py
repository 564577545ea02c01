"""Batches that know their positions in the order of all samples, and can start at any of them."""

from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler, Sampler

from casvit_mm.registration import registered_in


class PositionedBatch(list):
    """The indices of a batch.

    Args:
        indices: The indices.
        epoch: Passes over the dataset before this one.
        positions: Position of each index in this pass, over all processes.
    """

    def __init__(
        self, indices: list[int] | None = None, epoch: int = 0, positions: list[int] | None = None
    ) -> None:
        super().__init__(indices or ())
        self.epoch = epoch
        self.positions = positions or []


@registered_in(DATA_SAMPLERS)
class PositionedBatchSampler(Sampler):
    """Batches of another batch sampler that know their positions, and can start at any of them.

    The loops of this package put it around the batch sampler of a config, so that a run can be
    resumed in the middle of an epoch. Order and content of the batches stay as they are.

    Args:
        sampler (Sampler): Source of the indices; the same order again after ``set_epoch``.
        batch_size (int): Batch size.
        drop_last (bool): Whether to drop a last batch that is not full. Defaults to False.
        batches (dict | None): Config of the batch sampler. By default, indices are taken in order.
        waits (bool): Whether there are no batches before :meth:`begin`. Older versions of mmengine
            ask for some early, and their samplers cannot begin again. Defaults to False.

    Attributes:
        skipped: Batches that are still to be left out.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        drop_last: bool = False,
        batches: dict[str, Any] | None = None,
        waits: bool = False,
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.batches: Any = (
            BatchSampler(sampler, batch_size, drop_last)
            if batches is None
            else DATA_SAMPLERS.build(
                batches, default_args=dict(sampler=sampler, batch_size=batch_size)
            )
        )
        self.skipped = 0
        self._epoch = 0
        self._waits = waits

    def begin(self, epoch: int, skipped: int) -> None:
        """Sets where the next pass begins.

        Args:
            epoch: Passes over the dataset before it.
            skipped: Batches that are left out; if the pass has fewer, the next one begins later.
        """
        self._epoch, self.skipped, self._waits = epoch, skipped, False

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[PositionedBatch]:
        if self._waits:
            return
        epoch, skipped = self._epoch, self.skipped
        self.begin(epoch + 1, 0)
        rank, processes = get_dist_info()
        count = 0
        for batch in self.batches:
            first = count
            count += len(batch)
            if skipped:
                skipped -= 1
                continue
            # The samplers of mmengine deal the indices out to the processes in turn.
            positions = [rank + processes * place for place in range(first, count)]
            yield PositionedBatch(batch, epoch, positions)
        if skipped:
            self.begin(epoch + 1, skipped)
