"""Classes of public datasets whose files do not name them."""

import re
from collections.abc import Sequence
from pathlib import Path

from casvit.drawing.palette import default_colour

Colour = tuple[int, int, int]

# Stored id, name and colour of the evaluated classes of Cityscapes, in the order of their train
# ids. Source: labels.py of cityscapesscripts.
CITYSCAPES: tuple[tuple[int, str, Colour], ...] = (
    (7, 'road', (128, 64, 128)),
    (8, 'sidewalk', (244, 35, 232)),
    (11, 'building', (70, 70, 70)),
    (12, 'wall', (102, 102, 156)),
    (13, 'fence', (190, 153, 153)),
    (17, 'pole', (153, 153, 153)),
    (19, 'traffic light', (250, 170, 30)),
    (20, 'traffic sign', (220, 220, 0)),
    (21, 'vegetation', (107, 142, 35)),
    (22, 'terrain', (152, 251, 152)),
    (23, 'sky', (70, 130, 180)),
    (24, 'person', (220, 20, 60)),
    (25, 'rider', (255, 0, 0)),
    (26, 'car', (0, 0, 142)),
    (27, 'truck', (0, 0, 70)),
    (28, 'bus', (0, 60, 100)),
    (31, 'train', (0, 80, 100)),
    (32, 'motorcycle', (0, 0, 230)),
    (33, 'bicycle', (119, 11, 32)),
)
CITYSCAPES_IDS = 34
# Files of an annotation of Cityscapes.
CITYSCAPES_FILE = re.compile(r'_gt(Fine|Coarse)_(\w+)$')
TRAIN_IDS, LABEL_IDS = 'labelTrainIds', 'labelIds'

# VOC's classes in the order of their values, after 0 for the background.
VOC = (
    *('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow'),
    *('diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa'),
    *('train', 'tvmonitor'),
)
# Names of VOC2012's images.
VOC_IMAGE = re.compile(r'20(0[7-9]|1[0-2])_\d{6}$')


def wheel(index: int) -> Colour:
    """A distinct colour for a class that has none."""
    return default_colour(index)


def is_voc(masks: Sequence[Path]) -> bool:
    """Whether semantic masks are those of VOC2012, by their folder and names."""
    return bool(masks) and all(
        mask.parent.name.startswith('SegmentationClass') and VOC_IMAGE.match(mask.stem)
        for mask in masks
    )
