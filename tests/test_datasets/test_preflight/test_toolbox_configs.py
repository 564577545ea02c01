"""Configs that mmdet ships pass the check before a run, if only their data are there."""

import json
from pathlib import Path
from typing import Any

import mmdet
import numpy as np
import pytest
from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from PIL import Image

from casvit_mm.config.edit import reroot
from casvit_mm.config.view import ConfigView
from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.preflight.check import check_data

CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'
SIZE = (64, 48)


@pytest.fixture(scope='module', autouse=True)
def _mmdet() -> None:
    register_all_modules()


def coco(folder: str, names: list[str] | tuple[str, ...], **fields: Any) -> dict[str, Any]:
    """A COCO file with two images, and one object of the first class in each."""
    box = dict(bbox=[5, 6, 20, 30], area=600, iscrowd=0, category_id=1)
    polygon = [[5, 6, 25, 6, 25, 36, 5, 36]]
    return dict(
        images=[
            dict(id=key, file_name=f'{folder}{key}.jpg', width=SIZE[0], height=SIZE[1])
            for key in (1, 2)
        ],
        categories=[dict(id=key, name=name) for key, name in enumerate(names, 1)],
        annotations=[dict(box, id=key, image_id=key, segmentation=polygon) for key in (1, 2)],
        **fields,
    )


def panoptic() -> dict[str, Any]:
    things = CocoPanopticDataset.METAINFO['thing_classes']
    content = coco('', CocoPanopticDataset.METAINFO['classes'])
    for category in content['categories']:
        category['isthing'] = int(category['name'] in things)
    segment = dict(id=1, bbox=[5, 6, 20, 30], area=600, iscrowd=0, category_id=1)
    content['annotations'] = [
        dict(image_id=key, file_name=f'{key}.png', segments_info=[segment]) for key in (1, 2)
    ]
    return content


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data in the layout of COCO 2017 as mmdet's configs expect it."""
    root = tmp_path_factory.mktemp('coco')
    annotations = root / 'annotations'
    for folder in ('train2017', 'val2017', 'unlabeled2017'):
        (root / folder).mkdir()
        for key in (1, 2):
            noise = np.random.default_rng(key).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
            Image.fromarray(noise).save(root / folder / f'{key}.jpg')
    labelled = coco('', CocoDataset.METAINFO['classes'])
    files = {
        'annotations/instances_train2017.json': labelled,
        'annotations/instances_val2017.json': labelled,
        'annotations/instances_unlabeled2017.json': dict(labelled, annotations=[]),
        'semi_anns/instances_train2017.1@10.json': labelled,
        'semi_anns/instances_train2017.1@10-unlabeled.json': dict(labelled, annotations=None),
        'annotations/panoptic_train2017.json': panoptic(),
        'annotations/panoptic_val2017.json': panoptic(),
        'annotations/lvis_v1_train.json': coco('train2017/', ['one']),
        'annotations/lvis_v1_val.json': coco('train2017/', ['one']),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(json.dumps(content))
    for folder in ('panoptic_train2017', 'panoptic_val2017'):
        (annotations / folder).mkdir()
    return root


def shipped(name: str, root: Path) -> Config:
    cfg = Config.fromfile(CONFIGS / name)
    reroot(cfg, str(root))
    return cfg


CHECKED = [
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py',
    'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'yolox/yolox_tiny_8xb8-300e_coco.py',
    'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
    'grounding_dino/grounding_dino_swin-t_finetune_16xb2_1x_coco.py',
    'glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py',
    'rpn/rpn_r50_fpn_1x_coco.py',
    'yolact/yolact_r50_1xb8-55e_coco.py',
    'solov2/solov2_r50_fpn_1x_coco.py',
]


@pytest.mark.parametrize('name', CHECKED)
def test_a_shipped_config_of_a_detector_is_accepted(root: Path, name: str) -> None:
    facts = check_data(shipped(name, root), ('train', 'val'))
    assert len(facts) >= 2 and all('2 images' in fact for fact in facts)


NOT_CHECKED = [
    'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
    'maskformer/maskformer_r50_ms-16xb1-75e_coco.py',
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    'lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py',
]


@pytest.mark.parametrize('name', NOT_CHECKED)
def test_a_config_with_data_of_another_kind_is_accepted_and_said_to_be_unchecked(
    root: Path, name: str
) -> None:
    facts = check_data(shipped(name, root), ('train', 'val'))
    assert facts and all('what is in it was not checked' in fact for fact in facts)


def test_the_panoptic_files_of_this_test_are_those_that_mmdet_reads(root: Path) -> None:
    cfg = shipped('panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', root)
    cfg.train_dataloader.dataset.pipeline = []
    assert len(DATASETS.build(cfg.train_dataloader.dataset)) == 2


def test_another_number_of_things_is_no_concern_of_the_check(root: Path) -> None:
    cfg = shipped('panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', root)
    assert dict(ConfigView(cfg).class_counts()) == dict.fromkeys(
        ('model.roi_head.bbox_head.num_classes', 'model.roi_head.mask_head.num_classes'), 80
    )
    assert len(CocoPanopticDataset.METAINFO['classes']) == 133
    assert check_data(cfg, ('train',))


def test_the_labelled_part_of_semi_supervised_data_needs_objects(root: Path) -> None:
    cfg = shipped(CHECKED[6], root)
    labelled, unlabelled = cfg.train_dataloader.dataset.datasets
    facts = check_data(cfg, ('train',))
    assert facts[0].startswith('train: 2 images, 2 objects')
    assert facts[1].startswith('train: 2 images, 0 objects')
    labelled.ann_file = unlabelled.ann_file
    with pytest.raises(DatasetError, match='lists no annotations'):
        check_data(cfg, ('train',))


def test_the_images_of_the_unlabelled_part_must_exist(root: Path) -> None:
    cfg = shipped(CHECKED[6], root)
    cfg.train_dataloader.dataset.datasets[1].data_prefix = dict(img='annotations/')
    with pytest.raises(DatasetError, match='2 of the 2 images'):
        check_data(cfg, ('train',))


def test_the_count_of_a_head_that_predicts_one_mask_for_all_classes_does_not_matter(
    root: Path,
) -> None:
    cfg = shipped(CHECKED[0], root)
    cfg.model.roi_head.mask_head.update(class_agnostic=True, num_classes=1)
    assert check_data(cfg, ('train', 'val'))
    cfg.model.roi_head.bbox_head.num_classes = 1
    with pytest.raises(DatasetError, match=r'roi_head\.bbox_head\.num_classes is 1, but'):
        check_data(cfg, ('train',))


def test_every_dataset_of_a_concatenation_is_checked(root: Path) -> None:
    cfg = shipped(CHECKED[0], root)
    first = cfg.train_dataloader.dataset
    second = Config(dict(first)).to_dict()
    second.update(ann_file='annotations/instances_val2017.json', data_prefix=dict(img='val2017/'))
    joined = dict(type='ConcatDataset', datasets=[first, second])
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=joined)
    assert len(check_data(cfg, ('train',))) == 2
    second['data_prefix'] = dict(img='annotations/')
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[first, second])
    with pytest.raises(DatasetError, match='2 of the 2 images'):
        check_data(cfg, ('train',))


def test_a_list_of_annotation_files_is_refused_for_a_class_that_reads_one(root: Path) -> None:
    cfg = shipped(CHECKED[0], root)
    files = ['annotations/instances_train2017.json', 'annotations/instances_val2017.json']
    cfg.train_dataloader.dataset.ann_file = files
    with pytest.raises(DatasetError, match=r'2 annotation files .*ConcatDataset'):
        check_data(cfg, ('train',))
    with pytest.raises((TypeError, AttributeError)):
        DATASETS.build(cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset.type = 'NobodysDataset'
    assert 'was not checked' in check_data(cfg, ('train',))[0]


def test_masks_are_decoded_safely_whatever_class_reads_the_file(root: Path, tmp_path: Path) -> None:
    cfg = shipped(NOT_CHECKED[3], root)
    content = json.loads((root / 'annotations/lvis_v1_train.json').read_text())
    content['annotations'][1]['segmentation'] = dict(size=list(SIZE[::-1]), counts="b'00'")
    (tmp_path / 'lvis.json').write_text(json.dumps(content))
    next(ConfigView(cfg).datasets('train'))['ann_file'] = str(tmp_path / 'lvis.json')
    for crashes_only in (False, True):
        with pytest.raises(DatasetError, match=r'annotations\[1\] \(id 2\) has run lengths'):
            check_data(cfg, ('train',), crashes_only=crashes_only)


SPOILED = {
    'no area': lambda content: content['annotations'][0].pop('area'),
    'another class': lambda content: content['categories'][0].update(name='someone'),
    'no image': lambda content: content['images'][0].update(file_name='nothing.jpg'),
    'no size': lambda content: content['images'][1].pop('width'),
    'no list': lambda content: content.pop('categories'),
}


@pytest.mark.parametrize('spoil', SPOILED)
@pytest.mark.parametrize('broken', [False, True])
def test_without_the_check_only_masks_that_crash_the_process_are_refused(
    root: Path, tmp_path: Path, spoil: str, broken: bool
) -> None:
    content = json.loads((root / 'annotations/instances_train2017.json').read_text())
    SPOILED[spoil](content)
    if broken:
        content['annotations'][1]['segmentation'] = dict(size=[48, 64], counts=[5, -5, 48 * 64])
    cfg = shipped(CHECKED[0], root)
    cfg.train_dataloader.dataset.ann_file = str(tmp_path / 'a.json')
    (tmp_path / 'a.json').write_text(json.dumps(content))
    with pytest.raises(DatasetError):
        check_data(cfg, ('train',))
    if broken and spoil != 'no list':
        with pytest.raises(DatasetError, match='run lengths that range from -5'):
            check_data(cfg, ('train',), crashes_only=True)
    else:
        assert check_data(cfg, ('train',), crashes_only=True) == []
