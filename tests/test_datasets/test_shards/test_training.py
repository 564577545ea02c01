"""Training from shards: the same samples and weights as from files, also after a resume."""

import re
from functools import partial

import exact_runs
import numpy as np
import pytest
import torch
from exact_runs import end_of, exact_run
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.hooks import Hook
from mmseg.datasets import BaseSegDataset
from torch.utils.data import Dataset

from casvit.errors import DatasetError
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.pairs_dataset import PairsDataset
from casvit_mm.datasets.preflight.detection import check_detection_data
from casvit_mm.datasets.preflight.semantic import check_semantic_data
from casvit_mm.datasets.shards.plan import plan_of
from casvit_mm.datasets.shards.sources import StorageError
from casvit_mm.datasets.shards.write import write_shards
from casvit_mm.engine.hooks.unreadable_files import SkipUnreadable


def coco(root):
    """The dataset as a config describes it."""
    return dict(
        data_root=str(root),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        metainfo=dict(classes=('thing',)),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='mmdet.RandomFlip', prob=0.5),
        ],
    )


class Images(Dataset):
    """Two numbers of each image of a dataset, which is listed several times."""

    def __init__(self, root, noisy=True):
        self.metainfo = dict(classes=('thing',))
        self.images = CocoDataset(**coco(root))

    def __len__(self):
        return 14

    def __getitem__(self, index):
        image = self.images[index % len(self.images)]['img'].astype(np.float32) / 255
        return torch.tensor([image.mean(), image[:, :20].std()])


class Stop(Hook):
    """Ends a run in the middle."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 5:
            raise KeyboardInterrupt


def trained(monkeypatch, root, work_dir, **options):
    """Trains, and returns everything that is left."""
    monkeypatch.setattr(exact_runs, 'Noise', partial(Images, str(root)))
    exact_run(work_dir, epochs=2, **options).train()
    return end_of(work_dir)


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        same = torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key]
        assert same, key


@pytest.mark.parametrize('workers', [0, 2])
def test_the_weights_are_the_same_bit_for_bit(
    workers, dataset, shards, server, tmp_path, monkeypatch
):
    files = trained(monkeypatch, dataset, tmp_path / 'files', workers=workers)
    address = f'shards+http://{server[0]}/coco.shards' if workers else f'shards://{shards}'
    assert_equal(files, trained(monkeypatch, address, tmp_path / 'run', workers=workers))


def test_an_interrupted_run_resumes_exactly(dataset, shards, tmp_path, monkeypatch):
    whole = trained(monkeypatch, dataset, tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt):
        trained(monkeypatch, f'shards://{shards}', tmp_path / 'cut', custom_hooks=[Stop()])
    assert_equal(whole, trained(monkeypatch, f'shards://{shards}', tmp_path / 'cut', resume=True))


@pytest.mark.parametrize('pairs', [False, True])
def test_semantic_masks_of_16_bits_are_the_same(pairs, mask_dataset, tmp_path, server):
    out = tmp_path / 'masks.shards'
    write_shards(plan_of(read_dataset(mask_dataset, 'semantic')), out, 5000)
    options = dict(
        metainfo=dict(classes=('ground', 'road', 'house'), palette=[[0] * 3] * 3),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')],
    )
    if pairs:
        names = [
            f'{{"img_path": "images/val/street {i}.jpg", '
            f'"seg_map_path": "annotations/val/street {i}.png"}}'
            for i in range(4)
        ]
        file = tmp_path / 'pairs.json'
        file.write_text(f'[{",".join(names)}]')
        build = partial(PairsDataset, ann_file=str(file), **options)
    else:
        prefix = dict(img_path='images/val', seg_map_path='annotations/val')
        build = partial(BaseSegDataset, data_prefix=prefix, **options)
    here = build(data_root=str(mask_dataset))
    there = build(data_root=f'shards+http://{server[0]}/masks.shards')
    assert len(here) == len(there) == 4
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one['img'], other['img'])
        np.testing.assert_array_equal(one['gt_seg_map'], other['gt_seg_map'])
        assert set(np.unique(other['gt_seg_map'])) == {0, 1, 2}


def config(root, **changes):
    return Config(
        dict(
            train_dataloader=dict(dataset=dict(type='CocoDataset', **coco(root) | changes)),
            model=dict(type='MaskRCNN', roi_head=dict(bbox_head=dict(num_classes=1))),
        )
    )


def test_the_check_before_a_run_knows_shards_on_this_machine(dataset, shards):
    (files,), (found,) = (
        check_detection_data(config(root), ('train',)) for root in (dataset, f'shards://{shards}')
    )
    assert found.startswith('train: 5 images, 5 objects, 1 class')
    assert found.replace(str(shards), str(dataset)) == files
    with pytest.raises(DatasetError, match='5 of the 5 images'):
        check_detection_data(config(f'shards://{shards}', data_prefix=dict(img='val/')), ('train',))
    with pytest.raises(DatasetError, match="no category 'other'"):
        check_detection_data(
            config(f'shards://{shards}', metainfo=dict(classes=('other',))), ('train',)
        )


def test_the_check_before_a_run_reads_annotations_but_no_image_of_another_machine(
    dataset, shards, server
):
    host, behaviour = server
    address = f'shards+http://{host}/coco.shards'
    (found,) = check_detection_data(config(address, backend_args=dict(timeout=5)), ('train',))
    assert found == (
        f'train: 5 images, 5 objects, 1 class ({address}/annotations/instances_train.json)'
    )
    asked = {path.rpartition('/')[2] for path, _ in behaviour.requests}
    assert asked == {'index.jsonl', 'instances_train.json'}
    named = re.escape(f'The annotation file {address}/annotations/instances_train.json has no')
    with pytest.raises(DatasetError, match=f"^{named} category 'other'"):
        check_detection_data(config(address, metainfo=dict(classes=('other',))), ('train',))
    with pytest.raises(DatasetError, match='5 of the 5 images'):
        check_detection_data(config(address, data_prefix=dict(img='val/')), ('train',))


def masks_config(root, **changes):
    loaded = dict(
        type='mmseg.BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images/val', seg_map_path='annotations/val'),
        metainfo=dict(classes=('ground', 'road', 'house'), palette=[[0] * 3] * 3),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')],
    )
    model = dict(type='EncoderDecoder', decode_head=dict(num_classes=3))
    return Config(dict(train_dataloader=dict(dataset=loaded | changes), model=model))


@pytest.mark.parametrize('remote', [False, True])
def test_the_check_before_a_run_finds_semantic_masks_that_are_not_in_the_shards(
    remote, mask_dataset, tmp_path, server
):
    (mask_dataset / 'annotations/train/street 2.png').unlink()
    out = tmp_path / 'masks.shards'
    write_shards(plan_of(read_dataset(mask_dataset, 'semantic')), out, 5000)
    root = f'shards+http://{server[0]}/masks.shards' if remote else f'shards://{out}'
    (found,) = check_semantic_data(masks_config(root), ('train',))
    assert found.startswith('train: 4 images with semantic masks, 3 classes (shards')
    prefix = dict(img_path='images/train', seg_map_path='annotations/train')
    with pytest.raises(DatasetError, match=r'1 of the 4 semantic masks.*/street 2\.png'):
        check_semantic_data(masks_config(root, data_prefix=prefix), ('train',))
    with pytest.raises(DatasetError, match='no images in shards'):
        nowhere = dict(img_path='images/test', seg_map_path='annotations/val')
        check_semantic_data(masks_config(root, data_prefix=nowhere), ('train',))
    with pytest.raises(DatasetError, match='2 classes'):
        two = dict(classes=('ground', 'road'), palette=[[0] * 3] * 2)
        check_semantic_data(masks_config(root, metainfo=two), ('train',))
    with pytest.raises(DatasetError, match='from this machine only'):
        check_semantic_data(masks_config(root, ann_file='classes.txt'), ('train',))


def test_images_are_not_skipped_if_the_storage_is_gone(tmp_path):
    def step(results):
        raise StorageError('gone')

    skipping = SkipUnreadable(step, 'img_path', tmp_path / 'record', 10)
    with pytest.raises(StorageError):
        skipping(dict(img_path='shards://a.shards/1.jpg'))
