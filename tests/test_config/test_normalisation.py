"""Images that are not normalised as the pretrained weights expect are reported."""

import shlex

import pytest
from mmengine.config import Config

from casvit_mm.config.normalisation import normalisation_note
from casvit_mm.config.read import load_config, parse_options

RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
CAFFE = dict(mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)


def config(preprocessor, scope='mmdet', load=None, **backbone):
    steps = [dict(type='LoadImageFromFile', **(load or {}))]
    return Config(
        dict(
            default_scope=scope,
            model=dict(
                data_preprocessor=preprocessor, backbone=dict(type='CASViT', arch='s', **backbone)
            ),
            train_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=steps)),
        )
    )


@pytest.mark.parametrize(
    'preprocessor',
    [
        dict(RGB, bgr_to_rgb=True),
        dict(RGB, rgb_to_bgr=True),
        # Torchvision's values, rounded to one digit more or less.
        dict(mean=[123.68, 116.78, 103.94], std=[58.4, 57.12, 57.38], bgr_to_rgb=True),
    ],
)
def test_what_the_weights_expect_is_silent(preprocessor):
    assert not normalisation_note(config(preprocessor))


@pytest.mark.parametrize(
    ('preprocessor', 'keys'),
    [
        (CAFFE, ('mean', 'std', 'bgr_to_rgb')),
        (dict(RGB), ('bgr_to_rgb',)),
        (dict(type='DetDataPreprocessor'), ('mean', 'std', 'bgr_to_rgb')),
        (dict(RGB, std=[1.0, 1.0, 1.0], bgr_to_rgb=True), ('std',)),
        (dict(mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True), ('mean', 'std')),
    ],
)
def test_anything_else_is_named_with_its_value_and_options_that_work(preprocessor, keys):
    cfg = config(preprocessor)
    note = normalisation_note(cfg)
    for key in ('mean', 'std', 'bgr_to_rgb'):
        said = f'model.data_preprocessor.{key} is {preprocessor.get(key)}'
        assert (said in note) == (key in keys)
    options = shlex.split(note[note.index('--cfg-options') :])[1:]
    cfg.merge_from_dict(parse_options(options))
    assert not normalisation_note(cfg)


def test_a_preprocessor_outside_the_model_and_inside_another_is_found():
    cfg = config(None)
    cfg.data_preprocessor = CAFFE
    assert 'but data_preprocessor.mean' in normalisation_note(cfg)
    cfg = config(dict(type='MultiBranchDataPreprocessor', data_preprocessor=CAFFE))
    assert 'model.data_preprocessor.data_preprocessor.mean' in normalisation_note(cfg)


def test_classifiers_have_another_name_for_the_order_of_channels():
    assert 'to_rgb=True' in normalisation_note(config(dict(RGB, to_rgb=False), 'mmpretrain'))
    assert not normalisation_note(config(dict(RGB, to_rgb=True), 'mmpretrain'))


def test_images_that_are_loaded_as_rgb_are_not_reversed():
    rgb = dict(channel_order='rgb')
    assert not normalisation_note(config(dict(RGB), load=rgb))
    note = normalisation_note(config(dict(RGB, bgr_to_rgb=True), load=rgb))
    assert 'bgr_to_rgb=False' in note


def test_other_backbones_other_channels_and_other_places_are_left_alone():
    assert not normalisation_note(config(CAFFE, in_channels=4))
    other = config(CAFFE)
    other.model.backbone.type = 'ResNet'
    assert not normalisation_note(other)
    elsewhere = config(CAFFE)
    elsewhere.train_dataloader.dataset.pipeline.append(dict(type='Normalize', **RGB))
    assert not normalisation_note(elsewhere)
    assert not normalisation_note(Config(dict()))


@pytest.mark.parametrize(
    'name',
    [
        'mask_rcnn_casvit',
        'dino_casvit',
        'mask2former_semantic_casvit',
        'casvit-m_8xb128_in1k',
        'semantic_fpn_casvit_light',
    ],
)
def test_shipped_configs_are_as_the_weights_expect(name):
    assert not normalisation_note(load_config(name))
