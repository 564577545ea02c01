"""Reports class indices out of range before they reach the loss."""

import torch
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit.errors import DatasetError
from casvit_mm.datasets.build import built_leaves
from casvit_mm.datasets.preflight.semantic import label_range
from casvit_mm.datasets.semantic_masks import check_semantic_mask
from casvit_mm.registration import registered_in


@registered_in(HOOKS)
class LabelRangeHook(Hook):
    """Checks the class indices in the semantic masks of every batch.

    In a loss, a class index out of range is an index error, on a GPU a device-side assert that
    names neither file nor value and makes the process unusable; in validation, such pixels are
    silently dropped from the metric.

    Args:
        ignore_index (int): The value of ignored pixels. Defaults to 255.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        """Checks a training batch."""
        self._look(runner.train_dataloader.dataset, data_batch)

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        """Checks a validation batch."""
        self._look(runner.val_dataloader.dataset, data_batch)

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        """Checks a test batch."""
        self._look(runner.test_dataloader.dataset, data_batch)

    def _look(self, dataset: BaseDataset, batch: DATA_BATCH) -> None:
        """Raises DatasetError for the first semantic mask with a value outside the classes."""
        classes = dataset.metainfo.get('classes')
        samples = batch.get('data_samples', ()) if isinstance(batch, dict) else ()
        for sample in samples:
            # All views of a test-time augmentation share one semantic mask.
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
                f'The semantic mask {path} as loaded by the pipeline has the value {values}, '
                f'outside the {len(classes)} classes: a step of the pipeline adds it.'
            )
