"""Finding configs, errors in configs, and arguments that change them."""

import pytest
from mmengine.config import Config

from casvit.cli.main import run_tool
from casvit.configs import config_path, find_config
from casvit.errors import CliError
from casvit_mm.config.edit import drop_pretrained, reroot, start_from_scratch
from casvit_mm.config.read import load_config


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


def test_an_existing_file_takes_precedence_over_a_shipped_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / 'mask_rcnn_casvit.py'
    own.write_text('own = True')
    assert load_config('mask_rcnn_casvit.py').own


def test_a_missing_config_is_reported_with_similar_names():
    with pytest.raises(CliError, match=r'mask_rcn_casvit does not exist.*mask_rcnn_casvit'):
        find_config('mask_rcn_casvit')


def test_a_config_name_unlike_any_other_is_answered_with_the_list():
    with pytest.raises(CliError, match=r'come with the package: .*retinanet_casvit'):
        find_config('zzz/qqq.py')


def test_a_folder_is_not_a_config(tmp_path):
    with pytest.raises(CliError, match='is a folder'):
        find_config(str(tmp_path))


def test_a_file_of_another_type_is_not_a_config(tmp_path):
    image = tmp_path / 'image.png'
    image.write_bytes(b'\x89PNG')
    with pytest.raises(CliError, match=r'expected a \.py'):
        load_config(str(image))


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
def test_an_error_in_a_config_is_reported_with_file_and_line(text, expected, tmp_path):
    (tmp_path / 'good.py').write_text('c = 1')
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(CliError, match=expected):
        load_config(str(tmp_path / 'bad.py'))


def test_an_error_in_a_base_is_reported_for_the_base(tmp_path):
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
def test_an_option_that_does_not_fit_the_config_is_refused(key, expected):
    with pytest.raises(CliError, match=expected):
        load_config('retinanet_casvit', {key: 1})


@pytest.mark.parametrize('option', ['key', '=1', 'a=[(1,2]', 'a=[dict(b=1,c=2)]'])
def test_an_option_that_cannot_be_read_is_a_usage_error(option, capsys):
    assert run_tool('print_config', ['retinanet_casvit', '--cfg-options', option]) == 2
    assert '--cfg-options' in capsys.readouterr().err


def test_data_root_moves_every_dataset_and_evaluator():
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


def test_from_scratch_needs_no_weights_trains_the_norm_statistics_and_reports_it():
    cfg = load_config('mask_rcnn_casvit')
    said = start_from_scratch(cfg)
    assert cfg.model.backbone.init_cfg is None
    assert cfg.model.backbone.norm_eval is False
    assert 'norm_eval=False' in said


def test_print_config_prints_the_config_of_a_run(capsys):
    options = ['--cfg-options', 'model.backbone.arch=s']
    assert run_tool('print_config', ['retinanet_casvit', *options]) == 0
    assert "arch='s'" in capsys.readouterr().out


@pytest.mark.parametrize('option', ['--out', '--save-path'])
@pytest.mark.parametrize('suffix', ['.py', '.json', '.yaml'])
def test_print_config_writes_one_file_that_needs_no_bases(option, suffix, tmp_path, capsys):
    out = tmp_path / 'new folder' / f'whole{suffix}'
    assert run_tool('print_config', ['retinanet_casvit', option, str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    written, shipped = Config.fromfile(out), load_config('retinanet_casvit')
    # JSON has no tuples.
    for part in (written.model, shipped.model):
        part.backbone.out_indices = list(part.backbone.out_indices)
    assert written.model.backbone == shipped.model.backbone
    assert written.train_cfg == shipped.train_cfg


def test_print_config_refuses_an_unsupported_suffix(tmp_path, capsys):
    assert run_tool('print_config', ['retinanet_casvit', '--out', str(tmp_path / 'a.txt')]) == 2
    assert 'a.txt: expected a .py, .json or .yaml file' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('base', ['written', 'named'])
def test_a_config_inherits_from_anywhere(base, tmp_path):
    if base == 'written':
        file = tmp_path / 'bases' / 'base.py'
        assert run_tool('print_config', ['mask_rcnn_casvit', '--out', str(file)]) == 0
    else:
        file = config_path('mask_rcnn_casvit')
    child = tmp_path / 'mine.py'
    child.write_text(f'_base_ = {str(file)!r}\nmodel = dict(backbone=dict(drop_path_rate=0.5))\n')
    cfg, shipped = Config.fromfile(child), load_config('mask_rcnn_casvit')
    assert cfg.model.backbone.drop_path_rate == 0.5
    cfg.model.backbone.drop_path_rate = shipped.model.backbone.drop_path_rate
    assert cfg.model == shipped.model


@pytest.mark.parametrize(
    'name', ['mask_rcnn_casvit', 'mask_rcnn_casvit.py', 'detection/mask_rcnn_casvit']
)
def test_config_path_finds_a_shipped_config_even_next_to_a_file_of_that_name(
    name, configs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mask_rcnn_casvit.py').write_text('own = True\n')
    assert config_path(name) == str(configs / 'detection' / 'mask_rcnn_casvit.py')


def test_config_path_of_an_unknown_name_suggests_similar_ones():
    with pytest.raises(CliError, match='Did you mean mask_rcnn_casvit'):
        config_path('mask_rcn_casvit')


def test_a_model_that_takes_no_init_cfg_is_given_none():
    backbone = dict(type='CASViT', init_cfg=dict(type='Pretrained', checkpoint='a.pth'))
    model = dict(type='MyModel', backbone=backbone)
    drop_pretrained(model)
    assert model == dict(type='MyModel', backbone=dict(type='CASViT', init_cfg=None))
    assert backbone['init_cfg']['checkpoint'] == 'a.pth'
