"""Class indices out of range are found in a batch before the model gets it."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, pseudo_collate
from torch.utils.data import DataLoader

pytest.importorskip('mmseg')

from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from casvit_mm.datasets import DatasetError, LabelRangeHook

CLASSES = ('road', 'sky', 'tree')


class Runner:
    """The parts of a runner that the hook uses."""

    def __init__(self, dataset):
        loader = DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate)
        self.train_dataloader = self.val_dataloader = self.test_dataloader = loader


@pytest.fixture
def build(tmp_path):
    """Builds a dataset of two images; the mask of the second has the given values."""

    def dataset(values, classes=CLASSES, **changes):
        for number, label in enumerate(([0, 1, 2, 255], values)):
            cv2.imwrite(str(tmp_path / f'{number}.jpg'), np.zeros((4, 4, 3), np.uint8))
            cv2.imwrite(str(tmp_path / f'{number}.png'), np.array([label] * 4, np.uint8))
        init_default_scope('mmseg')
        return DATASETS.build(
            dict(
                type='BaseSegDataset',
                data_root=str(tmp_path),
                data_prefix=dict(img_path='', seg_map_path=''),
                metainfo=dict(classes=classes),
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadAnnotations'),
                    dict(type='PackSegInputs'),
                ],
                **changes,
            )
        )

    return dataset


def check(dataset, when='train'):
    runner = Runner(dataset)
    batch = next(iter(runner.train_dataloader))
    getattr(LabelRangeHook(), f'before_{when}_iter')(runner, 0, batch)


@pytest.mark.parametrize('when', ['train', 'val', 'test'])
def test_a_value_outside_the_classes_is_named_with_file_and_count(build, tmp_path, when):
    with pytest.raises(DatasetError) as found:
        check(build([0, 1, 3, 200]), when)
    assert f'{tmp_path / "1.png"} has the value 3 in 4 pixels, 200 in 4 pixels' in str(found.value)


def test_class_indices_and_ignored_pixels_pass(build):
    check(build([0, 0, 2, 255]))


def test_ignored_zeros_pass_and_the_message_gives_the_value_in_the_file(build):
    check(build([0, 1, 2, 3], reduce_zero_label=True))
    with pytest.raises(DatasetError, match='the value 4 in 4 pixels'):
        check(build([0, 1, 2, 4], reduce_zero_label=True))


def test_wrapped_datasets_are_checked(build):
    with pytest.raises(DatasetError, match='the value 9 in 4 pixels'):
        check(ConcatDataset([build([0, 1, 2, 9])]))


def test_a_value_that_the_pipeline_adds_is_reported_as_such(build, tmp_path):
    dataset = build([0, 1, 2, 2])
    runner = Runner(dataset)
    batch = next(iter(runner.train_dataloader))
    batch['data_samples'][0].gt_sem_seg.data[:] = 77
    with pytest.raises(DatasetError, match=r'77.*a step of the pipeline adds it'):
        LabelRangeHook().before_train_iter(runner, 0, batch)


def test_batches_of_other_tasks_are_ignored(build):
    runner = Runner(build([0, 1, 2, 2]))
    LabelRangeHook().before_train_iter(runner, 0, dict(inputs=[torch.zeros(3, 4, 4)]))
    LabelRangeHook().before_train_iter(runner, 0, None)
