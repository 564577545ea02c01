"""Every classification config against a table written from the published recipe."""

import copy

import pytest
import torch
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATA_SAMPLERS, init_default_scope

from casvit_mm.models import ARCHITECTURES

pytest.importorskip('mmpretrain')
from mmcv.transforms import Compose
from mmengine.dataset import DefaultSampler
from mmengine.model import BaseTTAModel
from mmpretrain.registry import HOOKS, METRICS, MODELS, PARAM_SCHEDULERS

SIZES = ('xs', 's', 'm', 't')
CHANNELS = {'xs': 220, 's': 256, 'm': 384, 't': 512}
NAMES = {224: 'casvit-{}_8xb128_in1k', 384: 'casvit-{}_8xb64_in1k-384px'}
PUBLISHED = [(side, size, NAMES[side].format(size)) for side in NAMES for size in SIZES]
DEMOS = {'casvit-xs_demo_shapes'}


@pytest.fixture(scope='module', params=PUBLISHED, ids=lambda row: row[2])
def row(request, configs):
    side, size, name = request.param
    return side, size, Config.fromfile(configs / 'classification' / f'{name}.py')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def transform(pipeline, name):
    return next(step for step in pipeline if step['type'] == name)


def test_model_is_the_published_one(row):
    side, size, cfg = row
    backbone, head = cfg.model.backbone, cfg.model.head
    assert (backbone.type, backbone.arch, backbone.out_indices) == ('CASViT', size, (3,))
    assert backbone.norm_eval is False
    assert backbone.drop_path_rate == {224: 0.1, 384: 0.0}[side]
    assert (head.num_classes, head.in_channels) == (1000, CHANNELS[size])
    assert head.two_heads is False, 'the published training has no dist_head'
    assert head.loss.to_dict() == dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
    )
    assert 'train_cfg' not in cfg.model, 'no mixup, no cutmix'


def test_fine_tuning_starts_from_the_published_file(row):
    side, size, cfg = row
    expected = dict(type='Pretrained', checkpoint=f'casvit://cas-vit-{size}')
    assert cfg.model.get('init_cfg') == (expected if side == 384 else None)
    assert cfg.load_from is None


def test_optimiser_is_the_published_one(row):
    side, _, cfg = row
    wrapper = cfg.optim_wrapper
    assert wrapper.optimizer.to_dict() == dict(
        type='AdamW', lr={224: 6e-3, 384: 5e-5}[side], weight_decay=0.05
    )
    assert wrapper.get('accumulative_counts', 1) == {224: 2, 384: 1}[side]
    assert 'clip_grad' not in wrapper


def test_weight_decay_skips_parameters_with_one_dimension(row):
    cfg = row[2]
    optimizer = build_optim_wrapper(
        MODELS.build(copy.deepcopy(cfg.model)), cfg.optim_wrapper
    ).optimizer
    groups = optimizer.param_groups
    decays = {(p.ndim == 1, group['weight_decay']) for group in groups for p in group['params']}
    assert decays == {(True, 0.0), (False, 0.05)}


def test_batch_is_8_gpus_of_128_images_or_64_at_384(row):
    side, _, cfg = row
    assert cfg.train_dataloader.batch_size == {224: 128, 384: 64}[side]
    assert cfg.auto_scale_lr.to_dict() == dict(
        enable=False, base_batch_size=8 * cfg.train_dataloader.batch_size
    )


def rates(cfg, steps):
    """The learning rate in the middle of every epoch, for epochs of a given number of steps."""
    optimizer = torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], cfg.optim_wrapper.optimizer.lr
    )
    schedulers = [
        PARAM_SCHEDULERS.get(scheduler['type']).build_iter_from_epoch(
            optimizer=optimizer,
            epoch_length=steps,
            **{k: v for k, v in scheduler.items() if k not in ('type', 'convert_to_iter_based')},
        )
        for scheduler in cfg.param_scheduler
        if scheduler['convert_to_iter_based']
    ]
    assert len(schedulers) == len(cfg.param_scheduler)
    found = []
    for step in range(steps * cfg.train_cfg.max_epochs):
        if step % steps == steps // 2:
            found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found, optimizer.param_groups[0]['lr']


def test_schedule_is_the_published_one(row):
    side, _, cfg = row
    assert cfg.train_cfg.max_epochs == {224: 300, 384: 30}[side]
    found, last = rates(cfg, 4)
    peak = cfg.optim_wrapper.optimizer.lr
    # Warm-up over 20 epochs from 0.
    assert found[0] == pytest.approx(peak * 0.5 / 20, rel=0.05)
    assert found[10] == pytest.approx(peak * 10.5 / 20, rel=0.05)
    if side == 384:
        assert found[20:] == pytest.approx([peak] * 10)
    else:
        assert found[160] == pytest.approx(peak / 2, rel=0.02)
        assert last == pytest.approx(1e-6, rel=0.05)


def test_weights_are_averaged_as_published(row):
    cfg = row[2]
    (hook,) = [hook for hook in cfg.custom_hooks if hook.type == 'EMAHook']
    assert hook.momentum == pytest.approx(1 - 0.9995)
    assert hook.update_buffers is True
    assert hook.get('interval', 1) == cfg.optim_wrapper.get('accumulative_counts', 1)


def test_training_images_are_prepared_as_published(row):
    side, _, cfg = row
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert [step.type for step in pipeline] == [
        'LoadImageFromFile',
        'MultiScaleRandomResizedCrop',
        'RandomFlip',
        'RandAugment',
        'PackInputs',
    ]
    crop = transform(pipeline, 'MultiScaleRandomResizedCrop')
    assert (crop.scale, crop.interpolation, crop.backend) == (side, 'bicubic', 'pillow')
    flip = transform(pipeline, 'RandomFlip')
    assert (flip.prob, flip.direction) == (0.5, 'horizontal')
    augment = transform(pipeline, 'RandAugment')
    assert (augment.policies, augment.num_policies) == ('timm_increasing', 2)
    assert (augment.magnitude_level, augment.total_level, augment.magnitude_std) == (9, 10, 0.5)
    assert augment.hparams == dict(pad_val=[104, 116, 124], interpolation='bicubic')
    assert cfg.model.data_preprocessor.to_dict() == dict(
        type='ClsDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    )


def test_batches_are_of_several_sizes_as_published(row):
    side, _, cfg = row
    loader = cfg.train_dataloader
    assert loader.sampler == dict(type='DefaultSampler', shuffle=True)
    sampler = DATA_SAMPLERS.build(
        loader.batch_sampler,
        default_args=dict(sampler=DefaultSampler(range(50_000)), batch_size=loader.batch_size),
    )
    assert set(sampler.sizes) == {160, 192, 256, 288, 320, side}
    assert not sampler.drop_last


def test_test_images_are_prepared_as_published(row):
    side, _, cfg = row
    for split in ('val', 'test'):
        pipeline = cfg[f'{split}_dataloader'].dataset.pipeline
        if side == 224:
            resize, crop = pipeline[1:-1]
            assert (resize.type, resize.scale, resize.edge) == ('ResizeEdge', 256, 'short')
            assert (crop.type, crop.crop_size) == ('CenterCrop', 224)
        else:
            (resize,) = pipeline[1:-1]
            assert (resize.type, resize.scale, resize.keep_ratio) == ('Resize', (384, 384), False)
        assert (resize.interpolation, resize.backend) == ('bicubic', 'pillow')


def test_imagenet_is_read_and_evaluated_as_usual(row):
    cfg = row[2]
    for split, folder in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.type, dataset.split) == ('ImageNet', folder)
        assert dataset.data_root == 'data/imagenet/'
    for split in ('val', 'test'):
        assert cfg[f'{split}_evaluator'].to_dict() == dict(type='Accuracy', topk=(1, 5))


def test_every_part_builds_and_the_model_predicts(row):
    cfg = row[2]
    for split in ('train', 'val', 'test'):
        Compose(list(cfg[f'{split}_dataloader'].dataset.pipeline))
        if split != 'train':
            METRICS.build(cfg[f'{split}_evaluator'])
    Compose(list(cfg.tta_pipeline))
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)
    model = MODELS.build(copy.deepcopy(cfg.model)).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64)).shape == (1, 1000)
    assert all(p.requires_grad for p in model.parameters())
    assert isinstance(MODELS.build(dict(cfg.tta_model, module=model)), BaseTTAModel)


def test_every_config_in_the_folder_is_in_a_table(configs):
    names = {file.stem for file in (configs / 'classification').glob('*.py')}
    assert names == {name for _, _, name in PUBLISHED} | DEMOS


@pytest.mark.parametrize('side', NAMES)
def test_one_word_changes_the_size(side, configs, tmp_path):
    base = configs / 'classification' / f'{NAMES[side].format("m")}.py'
    assert base.read_text().count('casvit_sizes.m') == 1
    for size in ARCHITECTURES:
        child = tmp_path / f'{size}.py'
        child.write_text(f'_base_ = {str(base)!r}\nmodel = _base_.casvit_sizes.{size}\n')
        model = Config.fromfile(child).model
        assert model.backbone.arch == size
        assert model.head.in_channels == ARCHITECTURES[size].channels[-1]
    assert model.get('init_cfg') is None
