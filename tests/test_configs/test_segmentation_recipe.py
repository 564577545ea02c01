"""Every segmentation config against a table written from the published recipe."""

import pytest
import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from small_models import with_one_layer

mmseg_registry = pytest.importorskip('mmseg.registry')

CHANNELS = {
    'xs': [48, 56, 112, 220],
    's': [48, 64, 128, 256],
    'm': [64, 96, 192, 384],
    't': [96, 128, 256, 512],
}
DROP_PATH = {'xs': 0.0, 's': 0.0, 'm': 0.1, 't': 0.1}
PUBLISHED = [(size, f'semantic_fpn_casvit-{size}_40k_ade20k-512x512') for size in CHANNELS]
PUBLISHED += [('m', 'semantic_fpn_casvit')]
HEADS = {'semantic_fpn': 'FPNHead', 'upernet': 'UPerHead', 'segformer': 'SegformerHead'}
LONGER = [
    (head, size, iterations, f'{head}_casvit-{size}_{iterations}k_ade20k-512x512')
    for head in HEADS
    for size in ('s', 'm')
    for iterations in (80, 160)
]
DEEPLAB = [f'deeplabv3plus_casvit-{size}_80k_ade20k-512x512' for size in 'sm']
MASK2FORMER = [f'mask2former_semantic_casvit-{size}_160k_ade20k-512x512' for size in 'sm']
FAMILIES = ['deeplabv3plus_casvit', 'mask2former_semantic_casvit']
SLIDING = 'upernet_casvit-m_160k_ade20k-512x512_slide'
DEMO = 'semantic_fpn_casvit-xs_demo_shapes'


def read(configs, name):
    return Config.fromfile(configs / 'segmentation' / f'{name}.py')


@pytest.fixture(scope='module', params=PUBLISHED, ids=lambda row: row[1])
def row(request, configs):
    size, name = request.param
    return size, read(configs, name)


@pytest.fixture(scope='module', params=LONGER, ids=lambda row: row[3])
def longer(request, configs):
    return (*request.param[:3], read(configs, request.param[3]))


def transform(pipeline, name):
    return next(step for step in pipeline if step['type'] == name)


def test_optimiser_is_the_published_one(row):
    assert row[1].optim_wrapper.to_dict() == dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4)
    )


def test_schedule_is_40k_iterations_of_polynomial_decay_without_warm_up(row):
    cfg = row[1]
    assert (cfg.train_cfg.type, cfg.train_cfg.max_iters) == ('IterBasedTrainLoop', 40000)
    (decay,) = cfg.param_scheduler
    assert decay.to_dict() == dict(
        type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=40000, by_epoch=False
    )


def test_batch_is_8_gpus_of_4_images(row):
    cfg = row[1]
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.train_dataloader.sampler.to_dict() == dict(type='InfiniteSampler', shuffle=True)
    assert cfg.auto_scale_lr.to_dict() == dict(enable=False, base_batch_size=8 * 4)


def test_backbone_is_the_published_one(row):
    size, cfg = row
    assert cfg.model.backbone.to_dict() == dict(
        type='CASViT',
        arch=size,
        out_indices=(0, 1, 2, 3),
        norm_eval=True,
        drop_path_rate=DROP_PATH[size],
        init_cfg=dict(type='Pretrained', checkpoint=f'casvit://cas-vit-{size}'),
    )


def test_neck_and_head_are_the_published_ones(row):
    size, cfg = row
    neck, head = cfg.model.neck, cfg.model.decode_head
    assert (neck.type, neck.in_channels) == ('FPN', CHANNELS[size])
    assert (neck.out_channels, neck.num_outs) == (256, 4)
    assert (head.type, head.channels, head.dropout_ratio) == ('FPNHead', 128, 0.1)
    assert (head.in_channels, head.in_index) == ([256] * 4, [0, 1, 2, 3])
    assert head.feature_strides == [4, 8, 16, 32]
    assert (head.num_classes, head.align_corners) == (150, False)
    assert head.norm_cfg.type == 'SyncBN'
    assert head.loss_decode.type == 'CrossEntropyLoss' and not head.loss_decode.use_sigmoid
    assert 'auxiliary_head' not in cfg.model


def test_images_are_prepared_as_published(row):
    cfg = row[1]
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == [123.675, 116.28, 103.53]
    assert preprocessor.std == [58.395, 57.12, 57.375]
    assert (preprocessor.bgr_to_rgb, preprocessor.pad_val, preprocessor.seg_pad_val) == (
        True,
        0,
        255,
    )
    assert preprocessor['size'] == (512, 512)
    train = cfg.train_dataloader.dataset.pipeline
    assert [step.type for step in train] == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'RandomResize',
        'RandomCrop',
        'RandomFlip',
        'PhotoMetricDistortion',
        'PackSegInputs',
    ]
    resize, crop = transform(train, 'RandomResize'), transform(train, 'RandomCrop')
    assert (resize.scale, resize.ratio_range) == ((2048, 512), (0.5, 2.0))
    assert (crop.crop_size, crop.cat_max_ratio) == ((512, 512), 0.75)
    assert transform(train, 'RandomFlip').prob == 0.5


def test_label_0_is_ignored(row):
    cfg = row[1]
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert transform(dataset.pipeline, 'LoadAnnotations').reduce_zero_label is True
        assert mmseg_registry.DATASETS.get(dataset.type)(lazy_init=True).reduce_zero_label


def test_testing_resizes_each_side_up_to_a_multiple_of_32(row):
    init_default_scope('mmseg')
    steps = row[1].test_dataloader.dataset.pipeline
    assert [step.type for step in steps] == [
        'LoadImageFromFile',
        'Resize',
        'ResizeToMultiple',
        'LoadAnnotations',
        'PackSegInputs',
    ]
    results = dict(img=torch.zeros(333, 500, 3, dtype=torch.uint8).numpy())
    results.update(img_shape=(333, 500), ori_shape=(333, 500))
    for step in steps[1:3]:
        results = mmseg_registry.TRANSFORMS.build(step)(results)
    # The shorter side to 512, the other to 769: 25 times 32 is the next multiple.
    assert results['img'].shape[:2] == (512, 800)
    assert row[1].model.test_cfg.to_dict() == dict(mode='whole')


def test_a_longer_schedule_changes_nothing_but_its_length(longer, configs):
    head, size, iterations, cfg = longer
    published = read(configs, f'semantic_fpn_casvit-{size}_40k_ade20k-512x512')
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end == 1000 * iterations
    assert cfg.model.decode_head.type == HEADS[head]
    for same in ('optim_wrapper', 'train_dataloader', 'test_dataloader', 'auto_scale_lr'):
        assert cfg[same] == published[same]
    assert cfg.model.backbone == published.model.backbone
    if head == 'semantic_fpn':
        assert cfg.model == published.model


@pytest.mark.parametrize(
    'name',
    [name for _, name in PUBLISHED[:4]]
    + [name for head, _, iterations, name in LONGER if head != 'semantic_fpn' and iterations == 80]
    + [*DEEPLAB, MASK2FORMER[0], SLIDING, DEMO],
)
def test_a_config_builds_learns_and_predicts(name, configs):
    from mmengine.model import revert_sync_batchnorm
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    cfg = read(configs, name)
    init_default_scope('mmseg')
    cfg.model.backbone.init_cfg = None
    with_one_layer(cfg.model)
    side = 64
    if name == SLIDING:
        assert (cfg.model.test_cfg.crop_size, cfg.model.test_cfg.stride) == ((512, 512), (341, 341))
        cfg.model.test_cfg.update(crop_size=(48, 48), stride=(32, 32))
    torch.manual_seed(0)
    model = revert_sync_batchnorm(mmseg_registry.MODELS.build(cfg.model))
    classes = cfg.model.decode_head.num_classes
    shape = dict(img_shape=(side, side), ori_shape=(side - 10, side + 7), pad_shape=(side, side))
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=shape)
        sample.gt_sem_seg = PixelData(data=torch.randint(classes, (1, side, side)))
        samples.append(sample)
    images = torch.rand(2, 3, side, side)

    losses = model.train()(images, samples, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert loss.isfinite()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert ('aux.loss_ce' in losses) == name.startswith(('upernet', 'deeplab'))

    with torch.no_grad():
        answers = model.eval()(images, samples, mode='predict')
    assert answers[0].pred_sem_seg.data.shape == (1, side - 10, side + 7)
    assert answers[0].seg_logits.data.shape[0] == classes


def test_whole_segmentor_has_the_published_neck_and_head(row):
    import published

    size, cfg = row
    init_default_scope('mmseg')
    model = mmseg_registry.MODELS.build(cfg.model)
    shapes = {
        key: list(value.shape)
        for key, value in model.state_dict().items()
        if not key.startswith('backbone')
    }
    expected = published.weights(size, 'semantic_fpn_neck_and_head')
    assert shapes == {key: list(value.shape) for key, value in expected.items()}


def test_every_config_in_the_folder_is_in_a_table(configs):
    names = {file.stem for file in (configs / 'segmentation').glob('*.py')}
    # The light family has a table of its own.
    assert {name for name in names if 'light' not in name} == {
        *(name for _, name in PUBLISHED),
        *(name for *_, name in LONGER),
        *DEEPLAB,
        *MASK2FORMER,
        *FAMILIES,
        SLIDING,
        DEMO,
    }
