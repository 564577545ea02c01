"""Names label values outside the classes before they reach the loss."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit.errors import DatasetError
from casvit_mm.datasets.build import built_leaves
from casvit_mm.datasets.preflight.semantic import label_range
from casvit_mm.datasets.semantic_masks import check_semantic_mask
from casvit_mm.registration import registered_in


@registered_in(HOOKS)
class LabelRangeHook(Hook):
    """Looks at the semantic masks of every batch before the model does.

    In a loss, a value outside the classes is an index error, on a GPU a device-side assert after
    which nothing works and which names neither file nor value; in validation it is left out of the
    metric without a word.

    Args:
        ignore_index (int): The value of pixels that do not count. Defaults to 255.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Looks at a batch to train on."""
        self._look(runner.train_dataloader.dataset, data_batch)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Looks at a batch to validate on."""
        self._look(runner.val_dataloader.dataset, data_batch)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Looks at a batch to test on."""
        self._look(runner.test_dataloader.dataset, data_batch)

    def _look(self, dataset: Any, batch: Any) -> None:
        """Raises DatasetError for the first semantic mask with a value outside the classes."""
        classes = dataset.metainfo.get('classes')
        samples = batch.get('data_samples', ()) if isinstance(batch, dict) else ()
        for sample in samples:
            # The views of a test-time augmentation are of one semantic mask.
            sample = sample[0] if isinstance(sample, (list, tuple)) else sample
            if classes is None or 'gt_sem_seg' not in sample:
                continue
            labels = sample.gt_sem_seg.data
            outside = ((labels >= len(classes)) & (labels != self.ignore_index)) | (labels < 0)
            if not outside.any():
                continue
            path, meta = sample.seg_map_path, dataset.metainfo
            leaf = next(built_leaves(dataset))
            check_semantic_mask(path, label_range(type(leaf), classes, meta, self.ignore_index))
            values = ', '.join(map(str, torch.unique(labels[outside]).tolist()))
            raise DatasetError(
                f'The semantic mask {path} as the pipeline loads it has the value {values}, '
                f'outside the {len(classes)} classes: a step of the pipeline makes it.'
            )
