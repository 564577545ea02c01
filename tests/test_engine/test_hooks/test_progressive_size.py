"""Smaller images at the start of training."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import ImgDataPreprocessor
from mmengine.structures import PixelData

pytest.importorskip('mmseg')
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample

from casvit_mm.engine import ProgressiveSizeHook
from casvit_mm.engine.hooks.progressive_size import NotASegmentorError


def batch(height=96, width=64, images=2):
    """Dark images with a bright rectangle of class 3; the rest is class 0, a corner ignored."""
    labels = torch.zeros(1, height, width, dtype=torch.int64)
    labels[:, height // 3 : 2 * height // 3, width // 4 : 3 * width // 4] = 3
    pixels = torch.where(labels == 3, 200, 10).expand(3, -1, -1).to(torch.uint8)
    labels[:, : height // 8, : width // 8] = 255
    samples = []
    for _ in range(images):
        sample = SegDataSample(metainfo=dict(img_shape=(height, width)))
        sample.gt_sem_seg = PixelData(data=labels.clone())
        samples.append(sample)
    return dict(inputs=[pixels.clone() for _ in range(images)], data_samples=samples)


def at(iteration, **padding):
    """The parts of a runner at an iteration that the hook uses."""
    preprocessor = SegDataPreProcessor(pad_val=0, seg_pad_val=255, **padding)
    return SimpleNamespace(iter=iteration, model=SimpleNamespace(data_preprocessor=preprocessor))


def after(hook, iteration, data):
    runner = at(iteration, size_divisor=32)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0, data)
    return data


@pytest.mark.parametrize(('iteration', 'sides'), [(4, 96), (5, 48), (8, 48), (9, 96)])
def test_images_are_small_from_begin_to_end_and_full_size_otherwise(iteration, sides):
    data = after(ProgressiveSizeHook(scale=0.5, begin=5, end=9), iteration, batch(96, 96))
    assert {tuple(image.shape) for image in data['inputs']} == {(3, sides, sides)}
    for sample in data['data_samples']:
        assert sample.gt_sem_seg.data.shape == (1, sides, sides)
        assert sample.img_shape == (sides, sides)


@settings(max_examples=30)
@given(st.floats(0.4, 0.95), st.integers(32, 90), st.integers(32, 90))
def test_semantic_masks_stay_aligned_with_images_and_get_no_new_values(scale, height, width):
    data = after(ProgressiveSizeHook(scale, end=1), 0, batch(height, width))
    image, labels = data['inputs'][0], data['data_samples'][0].gt_sem_seg.data[0]
    assert image.dtype == torch.uint8 and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) <= {0, 3, 255}
    # Pixels that are not mixed with their neighbours.
    bright, dark = image[0] == 200, image[0] == 10
    assert (labels[bright] == 3).all() and (labels[dark] != 3).all()
    assert bright.any() and dark.any()


@pytest.mark.parametrize('padding', [dict(size=(96, 96)), dict(size_divisor=32)])
def test_a_small_batch_is_padded_to_the_small_size_and_the_next_one_to_the_full_size(padding):
    # Three sizes: while both hooks are active, their scales multiply.
    hooks = [ProgressiveSizeHook(scale=2 / 3, end=2), ProgressiveSizeHook(scale=0.5, end=1)]
    runner = at(0, **padding)
    for hook in hooks:
        hook.before_train(runner)
    for runner.iter, sides in enumerate((32, 64, 96)):
        data = batch(96, 90)
        for hook in hooks:
            hook.before_train_iter(runner, 0, data)
        ready = runner.model.data_preprocessor(data, training=True)
        for hook in hooks:
            hook.after_train_iter(runner, 0, data)
        assert ready['inputs'].shape == (2, 3, sides, sides)
        assert ready['data_samples'][0].gt_sem_seg.data.shape == (1, sides, sides)
        assert runner.model.data_preprocessor.size == padding.get('size')


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (dict(scale=1.0, end=5), 'below 1'),
        (dict(scale=0.0, end=5), 'above 0'),
        (dict(scale=0.5, end=0), 'below end=0'),
        (dict(scale=0.5, begin=5, end=5), 'begin=5'),
        (dict(scale=0.5, begin=-1, end=5), 'at least 0'),
    ],
)
def test_impossible_arguments_are_rejected(arguments, said):
    with pytest.raises(ValueError, match=said):
        ProgressiveSizeHook(**arguments)


def test_a_model_that_is_not_a_segmentor_is_rejected_in_a_sentence():
    runner = SimpleNamespace(model=SimpleNamespace(data_preprocessor=ImgDataPreprocessor()))
    with pytest.raises(NotASegmentorError, match='this model has'):
        ProgressiveSizeHook(scale=0.5, end=1).before_train(runner)
