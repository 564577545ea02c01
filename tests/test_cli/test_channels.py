"""Parts of a model that do not fit together are reported with options that make them fit."""

import argparse
import shlex

import pytest
from mmengine.config import Config
from quick_runs import DEMO

from casvit.cli import arguments
from casvit.configs import shipped_configs
from casvit.errors import CliError
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.read import load_config, parse_options

SHIPPED = sorted(
    str(path.relative_to(shipped_configs()))
    for path in shipped_configs().rglob('*.py')
    if '_base_' not in path.parts
)
MASK_RCNN = 'mask_rcnn_casvit-m_fpn_1x_coco'
CLASSIFIER = 'casvit-m_8xb64_in1k-384px'
BASES = (
    MASK_RCNN,
    'cascade_mask_rcnn_casvit-m_fpn_1x_coco',
    'retinanet_casvit-m_fpn_1x_coco',
    'rtmdet_casvit-m_8xb32-300e_coco',
    'upernet_casvit-m_160k_ade20k-512x512',
    'segformer_casvit-m_160k_ade20k-512x512',
    'semantic_fpn_casvit-m_160k_ade20k-512x512',
    CLASSIFIER,
)


def options_of(sentence):
    """Parses the options at the end of a message as a shell and --cfg-options do."""
    parser = argparse.ArgumentParser()
    arguments.add_config(parser)
    text = sentence[sentence.index('--cfg-options') :]
    return parse_options(parser.parse_args(['config', *shlex.split(text)]).cfg_options)


def refused(name, options):
    with pytest.raises(CliError) as error:
        require_matching_channels(load_config(name, options))
    return str(error.value)


def mended(name, options):
    """The options that a message suggests; they are enough to make the config fit."""
    suggested = options_of(refused(name, options))
    require_matching_channels(load_config(name, {**options, **suggested}))
    require_matching_channels(load_config(name, suggested))
    return suggested


@pytest.mark.parametrize('name', SHIPPED)
def test_every_shipped_config_fits(name):
    require_matching_channels(load_config(name))


@pytest.mark.parametrize('size', ['xs', 's', 't', 'l'])
@pytest.mark.parametrize('name', BASES)
def test_changing_the_size_alone_is_answered_with_the_other_options(name, size):
    suggested = mended(name, {'model.backbone.arch': size})
    assert suggested['model.backbone.arch'] == size
    part = 'model' if name == CLASSIFIER else 'model.backbone'
    if size == 'l':
        assert suggested[f'{part}.init_cfg'] is None
    else:
        assert suggested[f'{part}.init_cfg.checkpoint'] == f'casvit://cas-vit-{size}'


def test_the_options_are_those_of_the_shipped_size():
    suggested = mended(MASK_RCNN, {'model.backbone.arch': 's'})
    assert suggested == {
        'model.backbone.arch': 's',
        'model.neck.in_channels': [48, 64, 128, 256],
        'model.backbone.init_cfg.checkpoint': 'casvit://cas-vit-s',
    }
    sentence = refused(MASK_RCNN, {'model.backbone.arch': 's'})
    assert 'outputs features with [48, 64, 128, 256] channels' in sentence
    assert 'model.neck.in_channels is [64, 96, 192, 384]' in sentence


def test_a_file_of_ones_own_is_replaced_by_that_of_the_other_size_in_its_folder():
    option = 'model.backbone.init_cfg.checkpoint'
    suggested = mended(MASK_RCNN, {option: '/data/cas-vit-m.pth', 'model.backbone.arch': 's'})
    assert suggested[option] == '/data/cas-vit-s.pth'


@pytest.mark.parametrize('name', BASES[:4])
def test_fewer_features_than_a_neck_needs_are_answered_with_the_stages(name):
    stages = load_config(name).model.backbone.out_indices
    for other in ([3], [0, 2], list(stages)[1:]):
        suggested = mended(name, {'model.backbone.out_indices': other})
        assert suggested['model.backbone.out_indices'] == list(stages)
        assert 'model.neck.in_channels' not in suggested
    both = {'model.backbone.out_indices': list(stages)[1:], 'model.backbone.arch': 's'}
    suggested = mended(name, both)
    assert suggested['model.backbone.out_indices'] == list(stages)
    assert len(suggested['model.neck.in_channels']) == len(stages)


def test_fewer_features_than_the_heads_need_are_answered_with_the_stages():
    for name in BASES[4:6]:
        suggested = mended(name, {'model.backbone.out_indices': [1, 2, 3]})
        assert suggested['model.backbone.out_indices'] == [0, 1, 2, 3]


def test_both_heads_of_a_segmentor_are_fixed():
    suggested = mended('upernet_casvit-m_160k_ade20k-512x512', {'model.backbone.arch': 'xs'})
    assert suggested['model.decode_head.in_channels'] == [48, 56, 112, 220]
    assert suggested['model.auxiliary_head.in_channels'] == 112


def test_a_custom_size_is_compared_by_its_channels():
    cfg = load_config(MASK_RCNN)
    cfg.model.backbone.arch = dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32))
    with pytest.raises(CliError, match='its own arch') as error:
        require_matching_channels(cfg)
    suggested = options_of(str(error.value))
    assert suggested['model.neck.in_channels'] == [8, 16, 24, 32]
    assert suggested['model.backbone.init_cfg'] is None
    assert 'model.backbone.arch' not in suggested
    cfg.model.neck.in_channels = [8, 16, 24, 32]
    require_matching_channels(cfg)


def test_images_with_other_channels_than_the_backbone_takes_are_named():
    suggested = mended(MASK_RCNN, {'model.backbone.in_channels': 4})
    assert suggested['model.backbone.in_channels'] == 3
    grey = {
        'model.backbone.in_channels': 1,
        'model.data_preprocessor.mean': [100.0],
        'model.data_preprocessor.bgr_to_rgb': False,
    }
    require_matching_channels(load_config(MASK_RCNN, grey))


def test_a_mean_that_mmdet_does_not_take_is_moved_into_the_pipeline():
    four = {'model.backbone.in_channels': 4, 'model.data_preprocessor.mean': [1.0] * 5}
    suggested = mended(MASK_RCNN, four)
    assert suggested['model.data_preprocessor.mean'] is None
    # mmdet's preprocessor would drop the fourth channel.
    assert suggested['model.data_preprocessor.bgr_to_rgb'] is False


def test_bands_are_compared_with_the_backbone_and_keep_their_order():
    steps = [dict(type='LoadBands'), dict(type='NormalizeBands', mean=[1.0] * 5, std=[1.0] * 5)]
    key = 'train_dataloader.dataset.pipeline'
    suggested = options_of(refused(MASK_RCNN, {key: steps}))
    assert suggested['model.backbone.in_channels'] == 5
    assert suggested['model.data_preprocessor.mean'] is None
    require_matching_channels(load_config(MASK_RCNN, {key: steps, **suggested}))
    assert 'what LoadBands loads' in refused(MASK_RCNN, {key: steps[:1]})


def segmentor(**parts):
    backbone = dict(type='CASViT', arch='xs', **parts.pop('backbone', {}))
    return Config(dict(default_scope='mmseg', model=dict(backbone=backbone, **parts)))


def head(kind, channels, index=None, **other):
    index = {} if index is None else dict(in_index=index)
    return dict(type=kind, in_channels=channels, **index, **other)


FIT = [
    segmentor(decode_head=head('FCNHead', 220)),
    segmentor(decode_head=head('mmseg.FCNHead', 112, 2)),
    segmentor(decode_head=head('FCNHead', 112, -2)),
    segmentor(decode_head=head('FCNHead', [56, 220], [1, 3], input_transform='resize_concat')),
    segmentor(
        decode_head=[head('FCNHead', 220), head('OCRHead', 220)],
        auxiliary_head=[head('FCNHead', 48, 0), head('FCNHead', 56, 1)],
    ),
    segmentor(neck=dict(type='MultiLevelNeck', in_channels=(48, 56, 112, 220))),
    segmentor(backbone=dict(out_indices=(1, 3)), decode_head=head('FCNHead', [56, 220], [0, 1])),
]
DO_NOT_FIT = [
    segmentor(decode_head=head('FCNHead', 256)),
    segmentor(decode_head=head('mmseg.ASPPHead', 112)),
    segmentor(decode_head=head('PSPHead', [48, 112], [0, 1], input_transform='multiple_select')),
    segmentor(decode_head=head('FCNHead', 220), auxiliary_head=[head('FCNHead', 56, 0)]),
    segmentor(decode_head=[head('FCNHead', 220), head('OCRHead', 221)]),
    segmentor(neck=dict(type='mmseg.MultiLevelNeck', in_channels=[48, 56, 112, 221])),
    segmentor(neck=[dict(type='FPN', in_channels=[1, 2, 3, 4]), dict(type='Other')]),
    segmentor(backbone=dict(out_indices=(3,)), decode_head=head('FCNHead', [56, 220], [1, 3])),
]
UNKNOWN = [
    Config(dict(model=None)),
    Config(dict(model=dict(type='Other'))),
    Config(dict(model=dict(backbone=dict(type='ResNet'), neck=dict(type='FPN', in_channels=[1])))),
    segmentor(backbone=dict(out_indices=7), decode_head=head('FCNHead', 1)),
    segmentor(decode_head=head('HeadOfMyOwn', 1)),
    segmentor(decode_head=head('no.such.module.Head', 1)),
    segmentor(decode_head=head('FCNHead', [1, 2])),
    segmentor(decode_head=head('FCNHead', '220')),
    segmentor(neck=dict(type='NeckOfMyOwn', in_channels=[1]), decode_head=head('FCNHead', 1)),
    segmentor(neck=dict(type='FPN', in_channels=256)),
    segmentor(neck=dict(type='FPN', in_channels=[9, 56, 112, 220], start_level=1)),
    segmentor(decode_head=None, auxiliary_head=None, neck=None),
]


@pytest.mark.parametrize('cfg', [*FIT, *UNKNOWN], ids=lambda cfg: str(cfg.model)[:90])
def test_configs_that_fit_or_are_unknown_are_not_refused(cfg):
    require_matching_channels(cfg)


@pytest.mark.parametrize('cfg', DO_NOT_FIT, ids=lambda cfg: str(cfg.model)[:90])
def test_the_suggested_options_fix_what_does_not_fit(cfg):
    with pytest.raises(CliError) as error:
        require_matching_channels(cfg)
    cfg.merge_from_dict(options_of(str(error.value)))
    require_matching_channels(cfg)


@pytest.mark.parametrize('name', [DEMO, 'semantic_fpn_casvit-xs_demo_shapes'])
def test_the_suggested_options_work_when_pasted(name, call):
    short = ['get_flops', name, '--shape', '64', '64', '--cfg-options']
    answer = call(*short, 'model.backbone.arch=s')
    assert answer.code == 2
    text = answer.err.split('add --cfg-options ')[1]
    answer = call(*short, *shlex.split(text))
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    'arguments',
    [
        ['train', DEMO],
        ['test', DEMO, 'gone.pth'],
        ['image_demo', 'a.jpg', DEMO, 'gone.pth'],
        ['fuse', DEMO, 'gone.pth', 'out.pth'],
        ['get_flops', DEMO],
        ['bench', '--configs', 'mine.py'],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_that_builds_the_model_reports_it_first(arguments, call, configs, tmp_path):
    (tmp_path / 'a.jpg').touch()
    base = str(configs / f'detection/{DEMO}.py')
    (tmp_path / 'mine.py').write_text(f"_base_ = {base!r}\nmodel = dict(backbone=dict(arch='s'))\n")
    if DEMO in arguments:
        arguments = [*arguments, '--cfg-options', 'model.backbone.arch=s']
    if arguments[0] == 'test':
        (tmp_path / 'gone.pth').touch()
    answer = call(*arguments)
    assert answer.code == 2, answer.err
    assert 'model.neck.in_channels="[48,64,128,256]"' in answer.err
    assert 'Traceback' not in answer.err


def test_print_config_still_prints_a_config_that_does_not_fit(call):
    assert call('print_config', DEMO, '--cfg-options', 'model.backbone.arch=s').code == 0


def test_the_example_of_the_help_works_for_every_shipped_config(call):
    help_text = ' '.join(call('train', '--help').out.split())
    example = help_text.split('change the config: ')[1].split(' …')[0]
    options = parse_options(example.split())
    for name in SHIPPED:
        require_matching_channels(load_config(name, options))
    assert 'arch' not in example
