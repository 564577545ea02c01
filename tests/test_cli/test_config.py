"""Config names, what is wrong with a config, and what arguments change in it."""

import pytest
from mmengine.config import Config

from casvit.configs import find_config
from casvit.errors import CliError
from casvit_mm.commands.config import load_config, reroot, start_from_scratch
from casvit_mm.commands.main import run_tool


@pytest.mark.parametrize(
    'name',
    [
        'mask_rcnn_casvit',
        'mask_rcnn_casvit.py',
        'detection/mask_rcnn_casvit',
        'detection/mask_rcnn_casvit.py',
    ],
)
def test_a_shipped_config_is_found_by_name_from_any_folder(name, configs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == configs / 'detection' / 'mask_rcnn_casvit.py'


def test_a_file_that_exists_goes_before_a_shipped_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / 'mask_rcnn_casvit.py'
    own.write_text('own = True')
    assert load_config('mask_rcnn_casvit.py').own


def test_a_config_that_does_not_exist_is_named_with_close_ones():
    with pytest.raises(CliError, match=r'mask_rcn_casvit does not exist.*mask_rcnn_casvit'):
        find_config('mask_rcn_casvit')


def test_a_config_unlike_any_is_answered_with_the_list():
    with pytest.raises(CliError, match=r'come with the package: .*retinanet_casvit'):
        find_config('zzz/qqq.py')


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(CliError, match='is a folder'):
        find_config(str(tmp_path))


def test_a_file_of_another_kind_is_no_config(tmp_path):
    picture = tmp_path / 'picture.png'
    picture.write_bytes(b'\x89PNG')
    with pytest.raises(CliError, match=r'expected a \.py'):
        load_config(str(picture))


@pytest.mark.parametrize(
    'text, expected',
    [
        ('a = 1\nb = = 2\n', r'bad\.py, line 2, is not valid Python'),
        ('a = 1\n\nb = undefined_name\n', r"bad\.py, line 3, .*'undefined_name'"),
        ("_base_ = './nothing.py'\n", r'bad\.py has a _base_ that does not exist: .*nothing\.py'),
        ("custom_imports = dict(imports=['no_such_module'])", r'no_such_module.*PYTHONPATH'),
        ("_base_ = './good.py'\nc = dict(a=1)\n", r'bad\.py cannot be loaded: c='),
        ("_base_ = './good.py'\nz = {{_base_.no_key}}\n", r'bad\.py uses a name.*no_key'),
    ],
)
def test_a_broken_config_is_described_with_file_and_line(text, expected, tmp_path):
    (tmp_path / 'good.py').write_text('c = 1')
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(CliError, match=expected):
        load_config(str(tmp_path / 'bad.py'))


def test_a_mistake_in_a_base_is_placed_in_the_base(tmp_path):
    (tmp_path / 'base.py').write_text('a = = 1')
    (tmp_path / 'child.py').write_text("_base_ = './base.py'")
    with pytest.raises(CliError, match=r'base\.py \(a base of .*child\.py\), line 1'):
        load_config(str(tmp_path / 'child.py'))


def test_options_change_the_config():
    cfg = load_config('retinanet_casvit', {'model.backbone.arch': 's', 'train_cfg.max_epochs': 1})
    assert cfg.model.backbone.arch == 's'
    assert cfg.train_cfg.max_epochs == 1


@pytest.mark.parametrize(
    'key, expected',
    [
        ('train_pipeline.99.x', 'Index 99'),
        ('model.backbone.arch.deeper', r'does not fit the config .*retinanet_casvit\.py'),
        ('modle.backbone.arch', "Did you mean 'model'"),
    ],
)
def test_an_option_that_has_no_place_in_the_config_is_refused(key, expected):
    with pytest.raises(CliError, match=expected):
        load_config('retinanet_casvit', {key: 1})


@pytest.mark.parametrize('option', ['key', '=1', 'a=[(1,2]', 'a=[dict(b=1,c=2)]'])
def test_an_option_that_cannot_be_read_is_a_usage_error(option, capsys):
    assert run_tool('print_config', ['retinanet_casvit', '--cfg-options', option]) == 2
    assert '--cfg-options' in capsys.readouterr().err


def test_data_root_moves_every_data_set_and_evaluator():
    cfg = load_config('mask_rcnn_casvit')
    reroot(cfg, '/new')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert cfg[loader].dataset.data_root == '/new'
        assert cfg[loader].dataset.ann_file.startswith('annotations/')
    for evaluator in ('val_evaluator', 'test_evaluator'):
        expected = '/new/annotations/instances_val2017.json'
        assert cfg[evaluator].ann_file == expected


def test_data_root_goes_through_wrappers_and_lists_of_metrics():
    inner = dict(
        type='CocoDataset', data_root='old/', ann_file='old/a.json', data_prefix=dict(img='old/i')
    )
    cfg = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='RepeatDataset',
                    dataset=dict(type='ConcatDataset', datasets=[inner, {**inner}]),
                )
            ),
            test_evaluator=[
                dict(type='CocoMetric', ann_file='old/annotations/x.json'),
                dict(type='Other', ann_file='older/x.json', note='old'),
            ],
        )
    )
    reroot(cfg, 'new')
    for dataset in cfg.train_dataloader.dataset.dataset.datasets:
        assert dataset.data_root == 'new'
        assert dataset.ann_file == 'new/a.json'
        assert dataset.data_prefix.img == 'new/i'
    assert cfg.test_evaluator[0].ann_file == 'new/annotations/x.json'
    assert cfg.test_evaluator[1].ann_file == 'older/x.json'


def test_data_root_of_a_config_without_data_is_refused(tmp_path):
    (tmp_path / 'empty.py').write_text('a = 1')
    with pytest.raises(CliError, match='--data-root'):
        reroot(load_config(str(tmp_path / 'empty.py')), 'new')


def test_from_scratch_needs_no_file_trains_the_statistics_and_says_so():
    cfg = load_config('mask_rcnn_casvit')
    said = start_from_scratch(cfg)
    assert cfg.model.backbone.init_cfg is None
    assert cfg.model.backbone.norm_eval is False
    assert 'norm_eval=False' in said


def test_print_config_prints_and_saves_what_a_run_would_see(tmp_path, capsys):
    saved = tmp_path / 'whole.py'
    code = run_tool(
        'print_config',
        ['retinanet_casvit', '--cfg-options', 'model.backbone.arch=s', '--save-path', str(saved)],
    )
    assert code == 0
    assert "arch='s'" in capsys.readouterr().out
    assert Config.fromfile(saved).model.backbone.arch == 's'
