"""The data check of segmentation configs: what passes, and the messages for what does not."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from unreadable import needs_linux, unreadable_file

pytest.importorskip('mmseg')

from casvit_mm.datasets import DatasetError, SemanticShapesDataset
from casvit_mm.datasets.preflight.check import check_data
from casvit_mm.datasets.preflight.semantic import check_semantic_data
from casvit_mm.datasets.shapes import objects as shapes

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


@pytest.fixture(scope='module')
def generated(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('generated')
    shapes.generate(root, num_train=6, num_val=3, size=64, progress=False)
    return root


@pytest.fixture
def root(generated, tmp_path) -> Path:
    """A copy that tests may damage."""
    return shutil.copytree(generated, tmp_path / 'data')


def config_of(root, model=None, **changes) -> Config:
    def loader(split):
        dataset = dict(
            type='SemanticShapesDataset',
            data_root=str(root),
            data_prefix=dict(img_path=split, seg_map_path=f'labels/{split}'),
            pipeline=PIPELINE,
        )
        return dict(dataset={**dataset, **changes})

    return Config(
        dict(
            default_scope='mmseg',
            model=model or dict(decode_head=dict(num_classes=7)),
            train_dataloader=loader('train'),
            val_dataloader=loader('val'),
        )
    )


def refusal(cfg) -> str:
    with pytest.raises(DatasetError) as found:
        check_semantic_data(cfg)
    return str(found.value)


def mask_file(root, number=0, split='train') -> Path:
    return root / 'labels' / split / f'{number:06d}.png'


def test_valid_data_are_summarised(root):
    assert check_data(config_of(root), ('train', 'val')) == [
        f'train: 6 images with semantic masks, 7 classes ({root / "train"})',
        f'val: 3 images with semantic masks, 7 classes ({root / "val"})',
    ]


def test_a_dataset_without_semantic_masks_is_valid_for_inference(root):
    shutil.rmtree(root / 'labels')
    cfg = config_of(root, data_prefix=dict(img_path='train'), pipeline=PIPELINE[:1])
    assert check_semantic_data(cfg, ('train',)) == [
        f'train: 6 images, 7 classes ({root / "train"})'
    ]


@pytest.mark.parametrize(
    ('gone', 'what'),
    [('', 'data root'), ('train', 'image folder'), ('labels/train', 'semantic mask folder')],
)
def test_a_missing_folder_is_named(root, gone, what):
    shutil.rmtree(root / gone)
    if gone:
        message = refusal(config_of(root))
        assert f'The {what} {root / gone} does not exist.' in message
        assert f'generate_shapes.py --out {root}' in message
    else:
        with pytest.raises(DatasetError, match=f'{root} does not exist'):
            check_semantic_data(config_of(root))


def test_a_missing_ade20k_is_reported_with_the_address_to_get_it_from(tmp_path, configs):
    cfg = Config.fromfile(configs / 'segmentation' / 'semantic_fpn_casvit.py')
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'ade')
    message = refusal(cfg)
    assert str(tmp_path / 'ade') in message
    assert 'ADEChallengeData2016.zip' in message and '--data-root' in message


def test_an_image_without_a_semantic_mask_is_named(root):
    mask_file(root, 3).unlink()
    message = refusal(config_of(root))
    assert '1 of the 6 images' in message and str(mask_file(root, 3)) in message


def test_a_semantic_mask_of_another_size_is_named_with_both_sizes(root):
    cv2.imwrite(str(mask_file(root, 5)), np.zeros((64, 60), np.uint8))
    message = refusal(config_of(root))
    assert '000005.jpg is 64x64 pixels' in message
    assert f'{mask_file(root, 5)} is 60x64' in message


def test_a_colour_coded_semantic_mask_is_named(root):
    Image.new('RGB', (64, 64)).save(mask_file(root, 1))
    assert f'The semantic mask {mask_file(root, 1)} is a colour image' in refusal(config_of(root))


def test_a_value_outside_the_classes_is_named(root):
    labels = np.zeros((64, 64), np.uint8)
    labels[0, :3] = 99
    cv2.imwrite(str(mask_file(root, 2)), labels)
    message = refusal(config_of(root))
    assert f'{mask_file(root, 2)} has the value 99 in 3 pixels' in message


def test_masks_of_0_and_255_are_detected(root):
    for path in (root / 'labels').rglob('*.png'):
        mask = np.zeros((64, 64), np.uint8)
        mask[20:40] = 255
        cv2.imwrite(str(path), mask)
    assert 'only 0 and 255' in refusal(config_of(root))


def test_a_damaged_image_is_named(root):
    (root / 'train' / '000004.jpg').write_bytes(b'broken')
    assert '000004.jpg is damaged or not an image' in refusal(config_of(root))


def test_a_head_with_another_number_of_classes_is_named(root):
    model = dict(decode_head=dict(num_classes=7), auxiliary_head=[dict(num_classes=19)])
    message = refusal(config_of(root, model))
    assert 'model.auxiliary_head.0.num_classes is 19' in message
    assert '7 classes' in message


def test_a_dataset_without_class_names_is_refused(root):
    assert 'metainfo=dict(classes=' in refusal(config_of(root, type='BaseSegDataset'))


def test_a_subset_of_the_known_classes_is_accepted(root):
    classes = SemanticShapesDataset.METAINFO['classes'][:3]
    cfg = config_of(root, dict(decode_head=dict(num_classes=3)), metainfo=dict(classes=classes))
    assert '3 classes' in check_semantic_data(cfg)[0]


def test_a_folder_without_images_of_the_suffix_is_refused(root):
    assert 'end in .tif' in refusal(config_of(root, img_suffix='.tif'))


def test_a_dataset_of_another_type_is_not_checked(root):
    assert 'was not checked' in check_semantic_data(config_of(root, type='MyOwn'))[0]


def test_a_dataset_without_its_folder_or_list_of_images_is_refused(root):
    kind = dict(type='BaseSegDataset', metainfo=dict(classes=tuple('abcdefg')))
    said = refusal(config_of(root, **kind, data_prefix=dict()))
    assert "set data_prefix=dict(img_path='FOLDER', seg_map_path='FOLDER') in it." in said
    said = refusal(config_of(root, **kind, ann_file='none.txt'))
    assert f'The list of images {root / "none.txt"} does not exist.' in said


def test_a_mask_of_a_format_that_the_backend_cannot_decode_is_not_called_damaged(root):
    (path, *_) = sorted((root / 'labels/train').iterdir())
    Image.open(path).convert('L').save(path, 'PCX')
    steps = [PIPELINE[0], dict(type='LoadAnnotations', imdecode_backend='cv2')]
    said = refusal(config_of(root, pipeline=steps))
    assert f"{path} is a PCX image, which imdecode_backend='cv2' of LoadAnnotations cannot" in said


LISTS_OF_PAIRS = {
    '{': 'is not valid JSON: Expecting property name',
    '[{"img": "a.jpg"}]': 'has another content than expected.',
    '[3]': 'has another content than expected.',
}


@pytest.mark.parametrize('content', LISTS_OF_PAIRS)
def test_a_damaged_list_of_pairs_is_refused_with_what_it_should_hold(content, root):
    (root / 'pairs.json').write_text(content)
    pairs = dict(type='PairsDataset', metainfo=dict(classes=tuple('abcdefg')))
    said = refusal(config_of(root, **pairs, ann_file='pairs.json', data_prefix=dict()))
    assert f'The list of pairs {root / "pairs.json"} {LISTS_OF_PAIRS[content]}' in said
    assert '[{"img_path": …, "seg_map_path": …}, …]' in said


@needs_linux
def test_a_list_of_pairs_that_the_disk_cannot_read_is_named(root):
    file = unreadable_file(root / 'pairs.json')
    pairs = dict(type='PairsDataset', metainfo=dict(classes=tuple('abcdefg')))
    said = refusal(config_of(root, **pairs, ann_file='pairs.json'))
    assert f'The list of pairs {file} cannot be read: Input/output error.' in said


@pytest.mark.parametrize('rooted', [True, False])
def test_a_list_of_pairs_needs_no_folders(root, rooted):
    start = '' if rooted else f'{root}/'
    names = [path.stem for path in sorted((root / 'labels/train').iterdir())]
    records = [
        dict(img_path=f'{start}train/{name}.jpg', seg_map_path=f'{start}labels/train/{name}.png')
        for name in names
    ]
    (root / 'pairs.json').write_text(json.dumps(records))
    pairs = dict(type='PairsDataset', metainfo=dict(classes=tuple('abcdefg')), data_prefix=dict())
    where = dict(ann_file=str(root / 'pairs.json'), data_root=str(root) if rooted else '')
    (said, _) = check_semantic_data(config_of(root, **pairs, **where))
    assert f'{len(names)} images with semantic masks' in said
