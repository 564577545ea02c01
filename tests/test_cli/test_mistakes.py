"""Common mistakes in configs: each is a sentence that names its place and a way out."""

import copy
import re
import sys

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModule
from mmengine.registry import DATASETS, HOOKS, MODELS, TRANSFORMS, VISBACKENDS, DefaultScope
from torch.utils.data import DataLoader

import casvit_mm  # noqa: F401
from casvit import config_path
from casvit.cli.errors import explain
from casvit.cli.main import run_tool
from casvit.errors import CliError, UserError
from casvit_mm.config.read import load_config
from casvit_mm.config.values import check_values, ignored_keys, settle_loaders
from casvit_mm.engine import CASViTRunner
from casvit_mm.models.optional import import_toolbox

USABLE = dict(
    default_scope='mmdet',
    model=dict(type='RetinaNet'),
    train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1),
    train_dataloader=dict(
        batch_size=2,
        num_workers=2,
        persistent_workers=True,
        dataset=dict(
            type='CocoDataset',
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='PackDetInputs'),
            ],
        ),
    ),
    optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-4)),
    param_scheduler=[dict(type='MultiStepLR', milestones=[8, 11])],
    custom_hooks=[dict(type='EMAHook', priority='NORMAL')],
)


def config(changes):
    cfg = Config(copy.deepcopy(USABLE))
    cfg.merge_from_dict(changes)
    return cfg


def test_a_config_without_mistakes_passes():
    check_values(config({}))
    assert ignored_keys(config({})) == []


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'optim_wrapper.optimizer.lr': '1e-4'}, ('optim_wrapper.optimizer.lr', "'1e-4'", 'quote')),
        ({'param_scheduler.0.milestones': [8, '11']}, ('param_scheduler.0.milestones.1', "'11'")),
        ({'train_dataloader.batch_size': '2'}, ('train_dataloader.batch_size', "'2'")),
        ({'train_dataloader.batch_size': 0}, ('train_dataloader.batch_size is 0', 'from 1 on')),
        ({'train_dataloader.num_workers': -1}, ('num_workers is -1', 'from 0 on')),
        ({'train_cfg.max_epochs': 0}, ('train_cfg.max_epochs is 0',)),
        ({'train_cfg.val_interval': 0}, ('train_cfg.val_interval is 0',)),
        ({'train_cfg.val_interval': 'two'}, ('train_cfg.val_interval', "'two'")),
        ({'optim_wrapper.optimizer.type': 'adamw'}, ("type='adamw'", "Did you mean 'AdamW'")),
        ({'optim_wrapper.optimizer.type': 'Muoon'}, ("type='Muoon'", 'custom_imports')),
        ({'log_level': 'LOUD'}, ('log_level', "'LOUD'")),
        ({'randomness': dict(seed='abc')}, ('randomness.seed', "'abc'")),
        ({'custom_hooks.0.priority': 'FIRST'}, ('EMAHook', "'FIRST'", 'VERY_LOW')),
        (
            {'train_dataloader.dataset.pipeline.0': dict(type='mmdet.MixUp')},
            ('MixUp supports boxes only', 'CachedMixUp'),
        ),
        (
            {'train_dataloader.dataset.pipeline.0': dict(type='RandomAffine')},
            ('RandomAffine supports boxes only',),
        ),
    ],
)
def test_a_value_that_no_run_can_use_is_named_before_anything_is_built(changes, words):
    with pytest.raises(CliError) as error:
        check_values(config(changes))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize('key', ['model', 'optim_wrapper', 'train_dataloader', 'default_hooks'])
def test_a_comma_after_a_dict_is_named(key):
    cfg = config({})
    cfg[key] = (dict(type='X'),)
    with pytest.raises(CliError, match=f'^{key} of .* comma'):
        check_values(cfg)


def test_transforms_for_boxes_are_fine_without_masks():
    steps = [dict(type='LoadAnnotations', with_bbox=True), dict(type='MixUp')]
    check_values(config({'train_dataloader.dataset.pipeline': steps}))


def test_without_workers_their_options_are_dropped_and_with_workers_they_stay():
    changes = {'train_dataloader.num_workers': 0, 'train_dataloader.prefetch_factor': 4}
    cfg = config(changes)
    settle_loaders(cfg)
    options = {key: cfg.train_dataloader[key] for key in ('persistent_workers', 'prefetch_factor')}
    DataLoader([1, 2], num_workers=0, **options)
    cfg = config({'train_dataloader.prefetch_factor': 4})
    settle_loaders(cfg)
    assert cfg.train_dataloader.persistent_workers and cfg.train_dataloader.prefetch_factor == 4


def test_keys_of_older_versions_and_misspelt_ones_are_noted():
    cfg = config({'lr_config': dict(policy='step'), 'optim_wraper': dict(optimizer=dict(lr=1))})
    notes = ' '.join(ignored_keys(cfg))
    assert 'lr_config' in notes and 'param_scheduler' in notes
    assert 'optim_wraper' in notes and 'optim_wrapper?' in notes


def test_ordinary_names_of_a_config_are_not_noted():
    names = ('data_root', 'train_pipeline', 'test_pipeline', 'norm_cfg', 'albu', 'base_lr', 'speed')
    assert ignored_keys(config({name: dict(type='X') for name in names})) == []


def test_a_config_of_an_older_version_is_told_what_its_keys_became():
    old = Config(dict(data=dict(train=dict()), runner=dict(max_epochs=2), lr_config=dict()))
    with pytest.raises(CliError, match=r'before mmengine.*lr_config became param_scheduler'):
        check_values(old)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ("custom_imports = 'casvit_mm'", ('custom_imports=dict(imports=',)),
        ("custom_imports = dict(imports=['broken_one'])", ('broken_one.py, line 2', 'by zero')),
        ("custom_imports = dict(imports=['no.such'])", ("No module named 'no'", 'PYTHONPATH')),
        ("data_root = '{{$NO_SUCH_VARIABLE:}}'", ('NO_SUCH_VARIABLE', 'not set', 'config.py')),
    ],
)
def test_a_config_that_cannot_be_read_says_which_line_of_which_file(
    text, words, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'broken_one.py').write_text('import sys\n1 / 0\n')
    (tmp_path / 'config.py').write_text(text)
    with pytest.raises(CliError) as error:
        load_config(str(tmp_path / 'config.py'))
    assert all(word in str(error.value) for word in words), error.value
    sys.modules.pop('broken_one', None)


def raised(action, *args):
    """The error that an action raises."""
    try:
        action(*args)
    except Exception as error:
        return error
    raise AssertionError('nothing was raised')


@pytest.fixture(autouse=True, scope='module')
def mmdet():
    """mmdet's classes, under its scope."""
    import_toolbox('mmdet')
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def run_step(step, **results):
    """Runs a transform as a pipeline does."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    return TRANSFORMS.build(step)(dict(img=pixels, img_shape=(8, 8), instances=[], **results))


@pytest.mark.parametrize(
    ('step', 'words'),
    [
        (dict(type='MixUp'), ('transform MixUp', 'MultiImageMixDataset')),
        (dict(type='CopyPaste'), ('transform CopyPaste', 'MultiImageMixDataset')),
        (dict(type='LoadAnnotations', with_mask=True), ("'ori_shape'", 'LoadImageFromFile')),
    ],
)
def test_a_transform_at_the_wrong_place_says_what_it_needs(step, words):
    said = explain(raised(run_step, step)) or ''
    assert all(word in said for word in words), said


class Samples(BaseDataset):
    """A dataset of one sample, without files."""

    def load_data_list(self):
        return [dict(img=np.zeros((8, 8, 3), np.uint8), gt_masks=1)]


def test_a_transform_that_fails_in_a_worker_process_is_named():
    steps = [dict(type='MixUp')]
    loader = DataLoader(Samples(pipeline=steps), num_workers=1, collate_fn=list)
    said = explain(raised(next, iter(loader))) or ''
    assert said.startswith('The transform MixUp failed: '), said


class Own(BaseTransform):
    """A transform of the user's own."""

    def transform(self, results):
        return results['no such key']


class Wrong(BaseTransform):
    """A transform of the user's own that misuses a library."""

    def transform(self, results):
        return np.concatenate([])


@pytest.mark.parametrize('step', [Own, Wrong])
@pytest.mark.parametrize('workers', [0, 1])
def test_an_error_in_the_users_own_code_keeps_its_traceback(step, workers):
    dataset = Samples(pipeline=[step()])
    loader = DataLoader(dataset, num_workers=workers, collate_fn=list)
    assert explain(raised(next, iter(loader))) is None


def test_a_model_that_gets_other_images_than_it_takes_is_named():
    backbone = MODELS.build(dict(type='CASViT', arch='xs', in_channels=4))
    said = explain(raised(backbone, torch.zeros(1, 3, 32, 32))) or ''
    assert 'CASViT' in said and '4 channels' in said and 'docs/bands.md' in said


@pytest.mark.parametrize(
    ('backend', 'package'), [('WandbVisBackend', 'wandb'), ('MLflowVisBackend', 'mlflow')]
)
def test_a_logger_whose_package_is_missing_says_what_to_install(
    backend, package, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    built = VISBACKENDS.build(dict(type=backend, save_dir=str(tmp_path)))
    said = explain(raised(lambda: built.experiment)) or ''
    assert backend in said and f'pip install {package}' in said


def test_a_transform_whose_package_is_missing_says_what_to_install(monkeypatch):
    from mmdet.datasets.transforms import transforms

    monkeypatch.setattr(transforms, 'Compose', None)
    said = explain(raised(TRANSFORMS.build, dict(type='Albu', transforms=[]))) or ''
    assert "type='Albu'" in said and 'pip install albumentations' in said


def test_an_argument_that_is_almost_right_is_suggested():
    said = explain(raised(MODELS.build, dict(type='CASViT', out_indicies=(0, 1)))) or ''
    assert 'out_indicies' in said and 'Did you mean out_indices?' in said
    said = explain(raised(DATASETS.build, dict(type='CocoDataset', anns_file='x'))) or ''
    assert 'Did you mean ann_file?' in said


def test_a_type_that_is_almost_right_is_suggested():
    said = explain(raised(MODELS.build, dict(type='FPNN'))) or ''
    assert "'FPN'" in said
    said = explain(raised(MODELS.build, dict(type='CasVit'))) or ''
    assert "'CASViT'" in said
    said = explain(raised(TRANSFORMS.build, dict(type='DefaultFormatBundle'))) or ''
    assert 'PackDetInputs' in said
    said = explain(raised(HOOKS.build, dict(type='CheckpontHook'))) or ''
    assert "'CheckpointHook'" in said


def test_a_name_of_a_toolbox_that_is_not_the_default_is_told_how_to_be_found():
    with DefaultScope.overwrite_default_scope('mmengine'):
        said = explain(raised(MODELS.build, dict(type='RetinaNet'))) or ''
    assert "default_scope='mmdet'" in said and "'mmdet.RetinaNet'" in said


def test_a_part_without_a_type_is_shown():
    said = explain(raised(MODELS.build, dict(in_channels=[48, 56], out_channels=64))) or ''
    assert re.search(r'has no type: .*in_channels.*_delete_', said), said


def test_code_of_this_package_that_fails_is_a_bug(monkeypatch):
    from casvit_mm.models.casvit import CASViT

    monkeypatch.setattr(CASViT, 'forward', lambda self, x: {}['missing'])
    assert explain(raised(CASViT('xs'), 0)) is None
    assert issubclass(CASViT, BaseModule)


@pytest.mark.parametrize('command', ['browse_dataset', 'finetune'])
def test_commands_that_only_read_or_extend_a_config_check_it_too(command, tmp_path, capsys):
    file = tmp_path / 'mine.py'
    base = config_path('mask_rcnn_casvit-xs_demo_shapes')
    file.write_text(f"_base_ = [{str(base)!r}]\ntrain_dataloader = dict(batch_size='two')\n")
    options = [tmp_path, '--config', file] if command == 'finetune' else [file]
    assert run_tool(command, [*map(str, options)]) == 2
    said = capsys.readouterr().err
    assert "train_dataloader.batch_size is 'two'" in said and 'Traceback' not in said


@pytest.mark.parametrize('strategy', ['DDPStrategy', 'FSDPStrategy', 'DeepSpeedStrategy'])
def test_a_strategy_for_several_processes_is_refused_without_them(strategy):
    from casvit_mm.commands.train import _check_strategy

    cfg = Config(dict(runner_type='FlexibleRunner', strategy=dict(type=strategy)))
    with pytest.raises(CliError, match=strategy):
        _check_strategy(cfg, 'none')
    _check_strategy(Config(dict(runner_type='FlexibleRunner')), 'none')
    _check_strategy(Config(dict(runner_type='CASViTRunner', strategy=cfg.strategy)), 'none')


def coco_metric(shapes, thresholds):
    """mmdet's metric, as the runner builds it."""
    runner = CASViTRunner.__new__(CASViTRunner)
    file = shapes / 'annotations' / 'instances_val.json'
    return runner.build_evaluator(
        dict(type='CocoMetric', ann_file=str(file), metric='bbox', iou_thrs=thresholds)
    )


@pytest.mark.parametrize('thresholds', [0.5, [0.5, 0.75], (0.3,), None])
def test_a_run_evaluates_with_one_or_several_iou_thresholds(thresholds, shapes):
    evaluator = coco_metric(shapes, thresholds)
    coco = evaluator.metrics[0]._coco_api
    evaluator.dataset_meta = dict(classes=[each['name'] for each in coco.cats.values()])
    numbers = {category: index for index, category in enumerate(coco.getCatIds())}
    samples = []
    for image in coco.getImgIds():
        found = coco.loadAnns(coco.getAnnIds(image))
        boxes = torch.tensor([each['bbox'] for each in found]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([numbers[each['category_id']] for each in found])
        predicted = dict(bboxes=boxes, labels=labels, scores=torch.ones(len(found)))
        samples.append(dict(img_id=image, ori_shape=(96, 96), pred_instances=predicted))
    evaluator.process(samples)
    assert evaluator.evaluate(len(samples))['coco/bbox_mAP'] == pytest.approx(1.0)


def test_iou_thresholds_that_are_no_numbers_are_named_before_the_first_step(shapes):
    with pytest.raises(UserError, match=r"iou_thrs of CocoMetric is 'many'"):
        coco_metric(shapes, 'many')
