"""Hooks that draw predictions."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData
from torch.utils.data import DataLoader, Dataset

from casvit_mm.datasets.shapes.semantic_shapes_dataset import SemanticShapesDataset
from casvit_mm.datasets.shapes.shapes_dataset import ShapesDataset
from casvit_mm.engine.hooks.draw_predictions import DrawTestHook
from casvit_mm.engine.hooks.preview import PreviewHook


class Images(Dataset):
    """A dataset of some length, with the metainfo of a generated one."""

    def __init__(self, number, metainfo):
        self.number = number
        self.metainfo = metainfo

    def __len__(self):
        return self.number


class Runner:
    """The parts of a runner that the hooks use."""

    def __init__(self, work_dir=None, metainfo=ShapesDataset.METAINFO, number=1):
        self.work_dir = work_dir
        self.val_dataloader = DataLoader(Images(number, metainfo))
        self.test_dataloader = self.val_dataloader


@pytest.mark.parametrize(('loaded', 'width'), [(True, 128), (False, 64)])
def test_a_background_image_is_drawn_beside_its_prediction_like_any_other(loaded, width, tmp_path):
    DetLocalVisualizer.get_instance(f'preview {loaded}')
    image = tmp_path / 'empty.png'
    cv2.imwrite(str(image), np.full((64, 64, 3), 127, np.uint8))
    sample = DetDataSample(metainfo=dict(img_path=str(image)))
    sample.gt_instances = InstanceData()
    if loaded:
        sample.gt_instances.bboxes = torch.zeros(0, 4)
        sample.gt_instances.labels = torch.zeros(0, dtype=torch.long)
        sample.gt_instances.masks = BitmapMasks([], 64, 64)
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]),
        labels=torch.tensor([1]),
        scores=torch.tensor([0.9]),
    )
    PreviewHook(num_pictures=1).after_val_iter(Runner(tmp_path), 0, outputs=[sample])
    assert cv2.imread(str(tmp_path / 'preview' / 'empty.jpg')).shape == (64, width, 3)


@pytest.fixture
def segmented(tmp_path):
    """An image with a semantic mask, and another mask as the prediction."""
    from mmseg.structures import SegDataSample

    image = tmp_path / 'street.png'
    cv2.imwrite(str(image), np.full((64, 64, 3), 127, np.uint8))
    sample = SegDataSample(metainfo=dict(img_path=str(image)))
    truth = torch.zeros(1, 64, 64, dtype=torch.long)
    truth[:, :32] = 1
    sample.gt_sem_seg = PixelData(data=truth)
    sample.pred_sem_seg = PixelData(data=truth.flip(1))
    return sample


def test_a_semantic_mask_is_drawn_beside_its_prediction(segmented, tmp_path):
    from mmseg.visualization import SegLocalVisualizer

    SegLocalVisualizer.get_instance('semantic masks', alpha=1.0)
    runner = Runner(tmp_path, SemanticShapesDataset.METAINFO)
    PreviewHook().after_val_iter(runner, 0, outputs=[segmented])
    drawn = cv2.imread(str(tmp_path / 'preview' / 'street.jpg'))
    assert drawn.shape == (64, 128, 3)
    red = np.array(SemanticShapesDataset.METAINFO['palette'][1][::-1])
    # Away from the class names, which are drawn in the middle of their areas.
    assert np.abs(drawn[4, 4] - red).max() < 8 and np.abs(drawn[60, 124] - red).max() < 8
    assert drawn[60, 4].max() < 8 and drawn[4, 124].max() < 8


def test_every_image_of_a_test_run_is_drawn(segmented, tmp_path):
    from mmseg.visualization import SegLocalVisualizer

    SegLocalVisualizer.get_instance('all semantic masks')
    runner = Runner(metainfo=SemanticShapesDataset.METAINFO)
    hook = DrawTestHook(str(tmp_path / 'drawn'))
    for index in range(3):
        segmented.set_metainfo(dict(img_path=str(tmp_path / f'{index}.png')))
        cv2.imwrite(segmented.img_path, np.zeros((64, 64, 3), np.uint8))
        hook.after_test_iter(runner, index, outputs=[segmented])
    assert {path.name for path in (tmp_path / 'drawn').iterdir()} == {'0.jpg', '1.jpg', '2.jpg'}
