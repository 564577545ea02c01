"""Images are prepared for exported models exactly as OpenMMLab's test pipelines prepare them."""

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope

from casvit.exported.preparation import PreparationError, check_steps, prepare
from casvit_mm.inference.preparation import (
    PipelineError,
    fixed_size,
    preparation,
    usual_size,
    with_size,
)
from casvit_mm.models.optional import import_toolbox

LOAD = dict(type='LoadImageFromFile')
PIPELINES = {
    'detection': ('mmdet', [dict(type='Resize', scale=(133, 80), keep_ratio=True)]),
    'padded detection': (
        'mmdet',
        [
            dict(type='Resize', scale=(64, 64), keep_ratio=True),
            dict(type='Pad', size=(64, 64), pad_val=dict(img=(114, 113, 112))),
        ],
    ),
    'semantic': (
        'mmseg',
        [
            dict(type='Resize', scale=(204, 51), keep_ratio=True),
            dict(type='ResizeToMultiple', size_divisor=32),
        ],
    ),
    'cropped': (
        'mmpretrain',
        [
            dict(
                type='ResizeEdge', scale=64, edge='short', backend='pillow', interpolation='bicubic'
            ),
            dict(type='CenterCrop', crop_size=56),
        ],
    ),
    'squeezed': (
        'mmpretrain',
        [
            dict(
                type='Resize',
                scale=(48, 48),
                keep_ratio=False,
                backend='pillow',
                interpolation='bicubic',
            )
        ],
    ),
    'long edge': ('mmpretrain', [dict(type='ResizeEdge', scale=50, edge='long')]),
    'as it is': ('mmpretrain', []),
}
SIZES = [(120, 90), (90, 120), (77, 77), (64, 200), (31, 45)]


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('name', PIPELINES)
def test_pixels_are_those_of_the_pipeline(name, size):
    scope, steps = PIPELINES[name]
    import_toolbox(scope)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    with DefaultScope.overwrite_default_scope(scope):
        pipeline = Compose(steps)
    shape = image.shape[:2]
    expected = pipeline(dict(img=image[..., ::-1].copy(), img_shape=shape, ori_shape=shape))
    prepared = prepare(image, preparation([LOAD, *steps, dict(type='PackInputs')]))
    assert np.array_equal(prepared.pixels, expected['img'][..., ::-1])
    if scope == 'mmdet':
        assert prepared.scale == expected['scale_factor']


@pytest.mark.parametrize(
    'step',
    [
        dict(type='Resize', scale=(64, 64), keep_ratio=True, interpolation='nearest'),
        dict(type='Resize', scale_factor=2.0),
        dict(type='Pad', size_divisor=32),
        dict(type='RandomFlip', prob=0.5),
        dict(type='CenterCrop', crop_size=64, auto_pad=True),
    ],
    ids=str,
)
def test_steps_that_an_exported_model_cannot_carry_out_are_refused(step):
    with pytest.raises(PipelineError, match=r'^The test pipeline .* cannot carry out'):
        preparation([LOAD, step])


def test_models_of_other_than_rgb_images_are_refused():
    with pytest.raises(PipelineError, match='LoadBands: only models of RGB images'):
        preparation([dict(type='LoadBands'), dict(type='PackSegInputs')])


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('detection', (96, 160)),
        ('padded detection', (64, 64)),
        # So wide an image would hardly occur; models are trained on crops of this size.
        ('semantic', (64, 64)),
        ('cropped', (56, 56)),
        ('squeezed', (48, 48)),
        ('as it is', None),
    ],
)
def test_the_usual_size_is_that_of_the_pipeline_in_whole_strides(name, expected):
    assert usual_size(preparation([LOAD, *PIPELINES[name][1]])) == expected


@pytest.mark.parametrize('name', PIPELINES)
@pytest.mark.parametrize('size', [(64, 96), (128, 128)], ids=str)
def test_every_image_gets_the_size_that_is_asked_for(name, size):
    steps = with_size(preparation([LOAD, *PIPELINES[name][1]]), size)
    assert fixed_size(steps) == size
    for height, width in SIZES:
        image = np.full((height, width, 3), 200, np.uint8)
        prepared = prepare(image, steps)
        assert prepared.pixels.shape == (*size, 3)
        rows, columns = prepared.inside
        assert (prepared.pixels[:rows, :columns] == 200).all()
        if name in ('detection', 'semantic'):
            assert rows == size[0] or columns == size[1]
            assert abs(prepared.scale[0] / prepared.scale[1] - 1) < 0.05
            outside = np.concatenate(
                [prepared.pixels[rows:].reshape(-1, 3), prepared.pixels[:, columns:].reshape(-1, 3)]
            )
            # Nearly zero for the network.
            assert (outside == (124, 116, 104)).all()


@pytest.mark.parametrize(
    'steps',
    [
        'resize',
        [3],
        [dict(step='exec')],
        [dict(step='resize_edge', to=64)],
        [dict(step='pad', to=[64, 64], value=[0, 0, 0], more=1)],
        [dict(step='resize_to_multiple', divisor=10**9)],
        [dict(step='pad', to=[], value=[0, 0, 0])],
    ],
    ids=str,
)
def test_invalid_steps_are_a_sentence(steps):
    with pytest.raises(PreparationError, match='prepar'):
        check_steps(steps)


def test_an_image_that_resizing_leaves_nothing_of_is_a_sentence():
    steps = preparation([LOAD, *PIPELINES['detection'][1]])
    with pytest.raises(PreparationError, match='too narrow'):
        prepare(np.zeros((2000, 2, 3), np.uint8), steps)
