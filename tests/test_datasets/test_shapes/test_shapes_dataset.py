from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules

from casvit_mm.datasets import DatasetError, ShapesDataset
from casvit_mm.datasets.shapes import objects as shapes

LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs'),
]


@pytest.fixture(scope='module', autouse=True)
def _mmdet() -> None:
    register_all_modules()


def build(root: Path | str | None, split: str = 'train', **options: Any) -> ShapesDataset:
    return DATASETS.build(
        dict(
            type='ShapesDataset',
            data_root=None if root is None else str(root),
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'{split}/'),
            pipeline=LOAD,
            **options,
        )
    )


def test_mmdet_reads_the_masks_boxes_and_classes_that_were_drawn(default_set: Path) -> None:
    dataset = build(default_set, 'val', test_mode=True)
    assert len(dataset) == 100
    assert dataset.metainfo['classes'] == shapes.CLASSES
    for index in range(30):
        truth = dataset[index]['data_samples'].gt_instances
        records = dataset.get_data_info(index)['instances']
        assert len(truth) == len(records)
        for mask, box, label, record in zip(
            truth.masks.masks, truth.bboxes.tensor, truth.labels, records, strict=True
        ):
            rows, columns = np.nonzero(mask)
            ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == ends
            assert label == record['bbox_label']


def test_the_areas_of_the_masks_match_the_file(default_set: Path) -> None:
    dataset = build(default_set, 'val', test_mode=True)
    masks = [dataset[index]['data_samples'].gt_instances.masks.masks for index in range(30)]
    areas = [int(mask.sum()) for group in masks for mask in group]
    from pycocotools.coco import COCO

    coco = COCO(str(default_set / 'annotations' / 'instances_val.json'))
    wanted = [a['area'] for image in list(coco.imgs)[:30] for a in coco.imgToAnns[image]]
    assert areas == wanted


def test_background_images_are_kept_unless_filtered(default_set: Path) -> None:
    assert len(build(default_set)) == 400
    assert len(build(default_set, filter_cfg=dict(filter_empty_gt=True, min_size=0))) == 384


def test_it_is_generated_in_the_cache_if_no_root_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    few = partial(shapes.generate, num_train=6, num_val=3, progress=False)
    monkeypatch.setattr(shapes, 'generate', few)
    assert len(build(None)) == 6
    assert len(build(f'{shapes.default_root()}/', 'val')) == 3


def test_a_missing_root_is_named_with_the_command_that_generates_it(tmp_path: Path) -> None:
    root = tmp_path / 'nowhere'
    with pytest.raises(DatasetError, match=r'nowhere does not exist.*generate_shapes.py --out'):
        ShapesDataset(
            data_root=str(root), ann_file='annotations/x.json', data_prefix=dict(img='x/')
        )
    assert not root.exists()
