"""Before a run, semantic masks are judged by the rules of the audit."""

import shutil

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from semantic_data import HEIGHT, WIDTH, labels_of, write_mask, write_pairs

pytest.importorskip('mmseg')

from casvit.errors import DatasetError
from casvit_mm.datasets.preflight.semantic import check_semantic_data


def config_of(
    *roots, classes=3, model=None, step=None, split_folders=('images', 'labels'), **changes
):
    step = step or dict(type='LoadAnnotations')

    def loader(split):
        datasets = [
            dict(
                type='BaseSegDataset',
                data_root=str(root),
                data_prefix=dict(
                    img_path=f'{split_folders[0]}/{split}',
                    seg_map_path=f'{split_folders[1]}/{split}',
                ),
                metainfo=dict(classes=[f'kind {index}' for index in range(classes)]),
                pipeline=[dict(type='LoadImageFromFile'), step],
                **changes,
            )
            for root in roots
        ]
        if len(datasets) == 1:
            return dict(dataset=dict(type='RepeatDataset', times=3, dataset=datasets[0]))
        return dict(dataset=dict(type='ConcatDataset', datasets=datasets))

    return Config(
        dict(
            default_scope='mmseg',
            model=model or dict(decode_head=dict(num_classes=classes)),
            train_dataloader=loader('train'),
            val_dataloader=loader('val'),
        )
    )


def refusal(cfg) -> str:
    with pytest.raises(DatasetError) as found:
        check_semantic_data(cfg)
    return str(found.value)


def test_common_masks_pass(tmp_path):
    for mode in ('L', 'P', 'I;16'):
        root = write_pairs(tmp_path / mode.replace(';', ''), mode=mode)
        assert len(check_semantic_data(config_of(root))) == 2


@pytest.mark.parametrize(
    ('values', 'classes', 'message'),
    [
        ((0, 255), 2, 'hold only 0 and 255'),
        ((0, 128, 255), 3, 'hold only 0, 128 and 255'),
        ((0, 85, 170, 255), 4, 'grey levels, one for each of 4 classes'),
    ],
)
def test_grey_levels_are_refused_with_the_command_that_repairs_them(
    tmp_path, values, classes, message
):
    root = write_pairs(tmp_path, classes=classes, values=values)
    said = refusal(config_of(root, classes=classes))
    assert message in said and '--fix OUT' in said


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_equal_channels_are_refused_with_the_command_that_completes_them(tmp_path, mode):
    said = refusal(config_of(write_pairs(tmp_path, mode=mode)))
    assert f'is a colour image (mode {mode})' in said
    assert 'Its channels are equal: `casvit finetune DATA --task semantic`' in said


def test_colours_are_refused_with_the_advice_to_write_a_legend(tmp_path):
    root = write_pairs(tmp_path)
    path = root / 'labels/val/val_001.png'
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:9, :, 0] = 200
    Image.fromarray(pixels).save(path)
    said = refusal(config_of(root))
    assert str(path) in said and 'with a legend of the colours' in said


def test_masks_in_a_lossy_format_are_refused(tmp_path):
    root = write_pairs(tmp_path, format='JPEG')
    assert 'are saved as JPEG' in refusal(config_of(root))


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('value', [1, 255])
def test_a_split_with_nothing_to_learn_is_refused(tmp_path, split, value):
    root = write_pairs(tmp_path)
    for path in (root / f'labels/{split}').iterdir():
        write_mask(path, np.full((HEIGHT, WIDTH), value, np.uint8))
    said = refusal(config_of(root))
    assert f'in the split {split}' in said and 'A model needs two classes' in said
    assert ('ignored' if value == 255 else "only the class 'kind 1'") in said


def test_a_second_class_in_the_last_mask_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr('casvit_mm.datasets.preflight.semantic.MASKS_READ', 2)
    root = write_pairs(tmp_path, 6, classes=1)
    for split in ('train', 'val'):
        write_mask(sorted((root / f'labels/{split}').iterdir())[3], labels_of(0))
    assert check_semantic_data(config_of(root))


def test_of_several_datasets_one_may_hold_a_single_class(tmp_path):
    full = write_pairs(tmp_path / 'full')
    empty = write_pairs(tmp_path / 'empty', classes=1)
    assert len(check_semantic_data(config_of(full, empty))) == 4
    assert 'only the class' in refusal(config_of(empty, empty))
    shutil.rmtree(full)
    write_pairs(full, values=(0, 1, 9))
    assert 'has the value 9' in refusal(config_of(empty, full))


def test_a_head_that_predicts_edges_has_two_classes_whatever_the_data(tmp_path):
    root = write_pairs(tmp_path)
    loss = [dict(type='CrossEntropyLoss', use_sigmoid=False), dict(type='DiceLoss')]
    heads = [
        dict(type='FCNHead', num_classes=3),
        dict(type='STDCHead', num_classes=2, boundary_threshold=0.1, loss_decode=loss),
        dict(type='FCNHead', num_classes=1, loss_decode=dict(type='BoundaryLoss')),
    ]
    model = dict(decode_head=dict(num_classes=3), auxiliary_head=heads)
    assert len(check_semantic_data(config_of(root, model=model))) == 2
    heads[0]['num_classes'] = 5
    assert 'model.auxiliary_head.0.num_classes is 5' in refusal(config_of(root, model=model))


def test_one_bit_and_palettes_are_read_with_the_backend_of_the_config(tmp_path):
    step = dict(type='LoadAnnotations', imdecode_backend='cv2')
    bits = write_pairs(tmp_path / 'bits', classes=2, mode='1')
    assert check_semantic_data(config_of(bits, classes=2))
    said = refusal(config_of(bits, classes=2, step=step))
    assert 'only 0 and 255' in said and "imdecode_backend='cv2'" in said
    palette = write_pairs(tmp_path / 'palette', mode='P')
    said = refusal(config_of(palette, step=step))
    assert 'has a palette' in said and "set it to 'pillow'" in said


def test_more_classes_than_8_bits_hold_are_a_sentence_if_masks_use_them(tmp_path):
    root = write_pairs(tmp_path, values=(0, 1, 2), mode='I;16')
    assert check_semantic_data(config_of(root, classes=300))
    root = write_pairs(tmp_path, values=(0, 1, 280), mode='I;16')
    said = refusal(config_of(root, classes=300))
    assert 'the value 280' in said and 'A run reads 8 bits' in said


def test_zero_as_other_is_no_class(tmp_path):
    root = write_pairs(tmp_path, classes=2)
    said = refusal(config_of(root, classes=2, reduce_zero_label=True))
    assert "only the class 'kind 0'" in said
    root = write_pairs(tmp_path, classes=3)
    assert check_semantic_data(config_of(root, classes=2, reduce_zero_label=True))
