"""The size of a config's backbone is changed by one word."""

import importlib
import re
from argparse import ArgumentParser

import pytest
from quick_runs import run_tool

from casvit.configs import shipped_configs
from casvit.errors import CliError
from casvit.tables import ARCHITECTURES, PUBLISHED_SIZES
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.read import load_config
from casvit_mm.config.size import name_with_size, set_size

NAMES = [path.stem for path in shipped_configs().rglob('*.py') if '_base_' not in path.parts]
OF_ONE_SIZE = [name for name in NAMES if '-m_' in name and name_with_size(name, 's') in NAMES]


def with_size(name, size):
    cfg = load_config(name)
    set_size(cfg, size)
    require_matching_channels(cfg)
    return cfg


def test_there_are_shipped_configs_that_differ_in_size():
    assert len(OF_ONE_SIZE) > 5


@pytest.mark.parametrize('name', OF_ONE_SIZE)
def test_a_config_with_another_size_is_the_shipped_config_of_that_size(name):
    assert with_size(name, 's').model == load_config(name_with_size(name, 's')).model


@pytest.mark.parametrize('size', PUBLISHED_SIZES)
def test_a_demo_of_another_size_still_starts_from_random_weights(size):
    model = with_size('mask_rcnn_casvit-xs_demo_shapes', size).model
    assert model.backbone.arch == size and not model.backbone.get('init_cfg')
    assert model.neck.in_channels == list(ARCHITECTURES[size].channels)


def test_a_drop_path_rate_that_is_not_the_recipes_stays():
    cfg = load_config('mask_rcnn_casvit', {'model.backbone.drop_path_rate': 0.3})
    set_size(cfg, 's')
    assert cfg.model.backbone.drop_path_rate == 0.3


def test_weights_whose_name_has_no_size_stay():
    cfg = load_config('mask_rcnn_casvit', {'model.backbone.init_cfg.checkpoint': 'mine.pth'})
    set_size(cfg, 's')
    assert cfg.model.backbone.init_cfg.checkpoint == 'mine.pth'


def test_a_backbone_that_is_no_casvit_has_no_size(tmp_path):
    (tmp_path / 'other.py').write_text("model = dict(backbone=dict(type='ResNet', depth=18))\n")
    with pytest.raises(CliError, match=r'--size s: the backbone of .*other.py is not a CAS-ViT'):
        set_size(load_config(str(tmp_path / 'other.py')), 's')


@pytest.mark.parametrize(
    ('name', 'named'),
    [
        ('mask_rcnn_casvit-m_fpn_1x_coco', 'mask_rcnn_casvit-s_fpn_1x_coco'),
        ('mask_rcnn_casvit', 'mask_rcnn_casvit-s'),
        ('mine', 'mine_s'),
    ],
)
def test_the_work_dir_of_another_size_has_another_name(name, named):
    assert name_with_size(name, 's') == named


def test_every_command_that_takes_a_model_takes_its_size(capsys):
    for name, options in {'print_config': [], 'get_flops': ['--shape', '64', '64']}.items():
        assert run_tool(name, ['mask_rcnn_casvit', '--size', 'xs', *options]) == 0
    said = capsys.readouterr().out
    assert 'work_dir' not in said, 'this is of a run'
    channels = ', *'.join(map(str, ARCHITECTURES['xs'].channels)).replace(', ', r',\s')
    assert re.search(rf'neck=dict\(\s*in_channels=\[\s*{channels},?\s*\]', said)
    assert re.search(r'backbone +2,759,132 ', said), 'parameters of XS'
    for name in ('train', 'test', 'image_demo', 'fuse', 'get_flops', 'print_config'):
        parser = ArgumentParser()
        importlib.import_module(f'casvit.cli.{name}').add_arguments(parser)
        assert '--size' in parser.format_help()
