"""Batches that know their positions in the order of all samples, and can start at any of them."""

from collections.abc import Container, Iterator
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
        handed_out: Batches that a loader may still be loading, by the batches before each.
        has_batches: Whether there was any in the last pass, left out or not.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        drop_last: bool = False,
        batches: dict[str, Any] | None = None,
        waits: bool = False,
    ) -> None:
        self.batch_size = batch_size
        self.drop_last = drop_last
        self._config = batches
        self.take(sampler)
        self.begin(0, 0)
        self._waits = waits

    def take(self, sampler: Sampler[int]) -> None:
        """Takes the indices from another sampler from now on.

        Args:
            sampler: The sampler.
        """
        self.sampler = sampler
        self.batches: Any = (
            BatchSampler(sampler, self.batch_size, self.drop_last)
            if self._config is None
            else DATA_SAMPLERS.build(
                self._config, default_args=dict(sampler=sampler, batch_size=self.batch_size)
            )
        )

    def begin(self, epoch: int, skipped: int, left_out: Container[int] = ()) -> None:
        """Sets where the next pass begins.

        Args:
            epoch: Passes over the dataset before it.
            skipped: Batches that are left out; if the pass has fewer, the next one begins later.
            left_out: Further batches that are left out, by the batches before each: in this pass
                and those that follow it.
        """
        self._epoch, self._skipped, self._left_out = epoch, skipped, left_out
        self._before = 0
        self._waits, self.has_batches = False, True
        self.handed_out: dict[int, PositionedBatch] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[PositionedBatch]:
        if self._waits:
            return
        epoch, self._epoch = self._epoch, self._epoch + 1
        self.has_batches = False
        rank, processes = get_dist_info()
        count = 0
        for batch in self.batches:
            first, place = count, self._before
            count += len(batch)
            self._before += 1
            self.has_batches = True
            if place < self._skipped or place in self._left_out:
                continue
            # The samplers of mmengine deal the indices out to the processes in turn.
            positions = [rank + processes * each for each in range(first, count)]
            self.handed_out[place] = PositionedBatch(batch, epoch, positions)
            yield self.handed_out[place]
