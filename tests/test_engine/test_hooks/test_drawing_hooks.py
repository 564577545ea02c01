"""Hooks that draw predictions."""

from argparse import ArgumentParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from torch.utils.data import DataLoader, Dataset

from casvit.cli import arguments
from casvit.drawing.style import Style
from casvit.results import default_palette
from casvit_mm.config.view import as_list
from casvit_mm.datasets.shapes.semantic_shapes_dataset import SemanticShapesDataset
from casvit_mm.datasets.shapes.shapes_dataset import ShapesDataset
from casvit_mm.engine.drawing import set_style
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

    def __init__(self, work_dir=None, metainfo=ShapesDataset.METAINFO, number=1, visualizer=None):
        self.work_dir = work_dir
        self.val_dataloader = DataLoader(Images(number, metainfo))
        self.test_dataloader = self.val_dataloader
        self.visualizer = visualizer


def found(path, loaded=True):
    """A grey image of 64 pixels without objects, and an object that was found in it."""
    cv2.imwrite(str(path), np.full((64, 64, 3), 127, np.uint8))
    sample = DetDataSample(metainfo=dict(img_path=str(path)))
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
    return sample


def is_near(image, colour):
    """The pixels of a JPEG file that have about a colour, given as RGB."""
    return np.abs(image[..., ::-1].astype(int) - colour).max(-1) < 24


@pytest.mark.parametrize('loaded', [True, False])
def test_a_background_image_is_drawn_beside_its_prediction_like_any_other(loaded, tmp_path):
    sample = found(tmp_path / 'empty.png', loaded)
    PreviewHook(num_pictures=1).after_val_iter(Runner(tmp_path), 0, outputs=[sample])
    drawn = cv2.imread(str(tmp_path / 'preview' / 'empty.jpg'))
    height, width = drawn.shape[:2]
    # Enlarged ten times; two of them have a gap between them, and titles above.
    assert (height > 640 and width > 1280) if loaded else (height, width) == (640, 640)
    box = is_near(drawn, ShapesDataset.METAINFO['palette'][1])
    assert box[:, -640:].any() and not box[:, : width - 640].any()
    rows, columns = np.nonzero(box[height - 640 :, -640:])
    assert abs(columns.min() - 80) < 4 and abs(columns.max() - 400) < 4
    # Above the box is its label, in the same colour.
    assert 40 < rows.min() < 75 and abs(rows.max() - 400) < 4


def test_a_style_in_the_config_changes_what_is_drawn(tmp_path):
    sample = found(tmp_path / 'a.png', loaded=False)
    colour = ShapesDataset.METAINFO['palette'][1]
    areas = {}
    for name, style in {
        'usual': {},
        'wide': dict(line_width=9),
        'bare': dict(labels=False),
        'nothing': dict(labels=False, boxes=False),
    }.items():
        hook = PreviewHook(num_pictures=1, folder=name, style=style)
        hook.after_val_iter(Runner(tmp_path), 0, outputs=[sample])
        areas[name] = is_near(cv2.imread(str(tmp_path / name / 'a.jpg')), colour).sum()
    assert areas['wide'] > areas['usual'] > areas['bare'] > areas['nothing'] == 0


class OwnVisualizer(DetLocalVisualizer):
    """A user's own way to draw: it writes an image of one colour."""

    def add_datasample(self, name, image, data_sample=None, out_file=None, **options):
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(out_file, np.full((5, 7, 3), 200, np.uint8))


def test_a_visualizer_of_the_users_own_class_draws_instead(tmp_path):
    sample = found(tmp_path / 'a.png')
    for visualizer, shape in ((OwnVisualizer(), (5, 7, 3)), (DetLocalVisualizer(), None)):
        runner = Runner(tmp_path, visualizer=visualizer)
        PreviewHook(num_pictures=1).after_val_iter(runner, 0, outputs=[sample])
        drawn = cv2.imread(str(tmp_path / 'preview' / 'a.jpg'))
        assert drawn.shape == shape if shape else drawn.shape[1] > 1280


def test_panoptic_segmentation_is_drawn_by_the_visualizer_of_the_config(tmp_path):
    sample = found(tmp_path / 'a.png')
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.zeros(1, 64, 64, dtype=torch.long))
    runner = Runner(tmp_path, visualizer=DetLocalVisualizer())
    PreviewHook(num_pictures=1).after_val_iter(runner, 0, outputs=[sample])
    assert cv2.imread(str(tmp_path / 'preview' / 'a.jpg')).shape == (64, 128, 3)


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
    runner = Runner(tmp_path, SemanticShapesDataset.METAINFO)
    PreviewHook().after_val_iter(runner, 0, outputs=[segmented])
    drawn = cv2.imread(str(tmp_path / 'preview' / 'street.jpg'))
    red = np.array(SemanticShapesDataset.METAINFO['palette'][1])
    mixed, black = (red + 127) / 2, np.full(3, 63)
    # Titles above, a legend with both classes below, and the masks in between.
    top = int(np.flatnonzero(is_near(drawn, mixed)[:, 8])[0])
    left, right = drawn[top : top + 640, 8], drawn[top : top + 640, -8]
    assert is_near(left[None], mixed)[0, :300].all() and is_near(left[None], black)[0, -300:].all()
    assert (
        is_near(right[None], black)[0, :300].all() and is_near(right[None], mixed)[0, -300:].all()
    )
    assert top > 10 and is_near(drawn[top + 640 :], red).any()


def test_pixels_that_are_ignored_are_shown_as_such(segmented, tmp_path):
    segmented.gt_sem_seg.data[:, 40:] = 255
    runner = Runner(tmp_path, SemanticShapesDataset.METAINFO)
    PreviewHook().after_val_iter(runner, 0, outputs=[segmented])
    drawn = cv2.imread(str(tmp_path / 'preview' / 'street.jpg'))
    assert is_near(drawn[600:640, 8], np.full(3, 63)).all()


def test_every_image_of_a_test_run_is_drawn(segmented, tmp_path):
    runner = Runner(metainfo=SemanticShapesDataset.METAINFO)
    hook = DrawTestHook(str(tmp_path / 'drawn'))
    for index in range(3):
        segmented.set_metainfo(dict(img_path=str(tmp_path / f'{index}.png')))
        cv2.imwrite(segmented.img_path, np.zeros((64, 64, 3), np.uint8))
        hook.after_test_iter(runner, index, outputs=[segmented])
    assert {path.name for path in (tmp_path / 'drawn').iterdir()} == {'0.jpg', '1.jpg', '2.jpg'}


def test_a_classified_image_has_its_class_above_it_and_scores_on_it(tmp_path):
    from mmpretrain.structures import DataSample

    folder = tmp_path / 'circle'
    folder.mkdir()
    cv2.imwrite(str(folder / 'a.png'), np.full((64, 64, 3), 127, np.uint8))
    sample = DataSample(metainfo=dict(img_path=str(folder / 'a.png')))
    sample.set_gt_label(0).set_pred_score(torch.tensor([0.3, 0.6, 0.1]))
    metainfo = dict(classes=('circle', 'square', 'star'))
    PreviewHook(num_pictures=1).after_val_iter(Runner(tmp_path, metainfo), 0, outputs=[sample])
    drawn = cv2.imread(str(tmp_path / 'preview' / 'circle_a.jpg'))
    assert drawn.shape[1] == 640 and drawn.shape[0] > 650
    places = [
        np.flatnonzero(is_near(drawn[:150, :100], colour).any(1)).mean()
        for colour in default_palette(3)
    ]
    assert places[1] < places[0] < places[2]


@pytest.mark.parametrize('hooks', [dict(type='PreviewHook'), [dict(type='casvit_mm.PreviewHook')]])
def test_the_options_of_a_command_become_the_style_of_the_hooks(hooks):
    cfg = Config(dict(custom_hooks=hooks))
    parser = ArgumentParser()
    arguments.add_drawing(parser)
    set_style(cfg, arguments.drawing(parser.parse_args([])))
    assert cfg.custom_hooks == hooks
    given = parser.parse_args(['--font-size', '20', '--no-boxes'])
    set_style(cfg, arguments.drawing(given))
    (hook,) = as_list(cfg.custom_hooks)
    assert Style(**hook.style) == Style(font_size=20, boxes=False)
