"""A run says if its images are not normalised as the pretrained weights expect."""

import logging

import pytest
from mmengine.config import Config
from toy_runs import toy_run

CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)
RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
PRETRAINED = dict(type='Pretrained', checkpoint='casvit://cas-vit-s')
NAMED = dict(custom_hooks=[dict(type='NormalisationHook')])


class Kept(logging.Handler):
    """Keeps the warnings of a run."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def said(work_dir, preprocessor, init_cfg=PRETRAINED, loaded=None, **options):
    """Warnings about the normalisation of a run, which has loaded a file with this ``meta``."""
    run, kept = toy_run(work_dir, epochs=1, **options), Kept()
    backbone = dict(type='CASViT', arch='s', init_cfg=init_cfg)
    model = dict(data_preprocessor=preprocessor, backbone=backbone)
    run.cfg = Config(dict(default_scope='mmdet', model=model))
    if loaded is not None:
        run._load_from = 'file.pth'
        run._has_loaded = True
        run.call_hook('after_load_checkpoint', checkpoint=dict(meta=loaded))
    run.logger.setLevel(logging.WARNING)
    run.logger.handlers.append(kept)
    run.train()
    return [text for text in kept.texts if 'pretrained weights expect' in text]


@pytest.mark.parametrize(
    'options', [dict(), dict(runner='Runner', **NAMED)], ids=['CASViTRunner', 'Runner']
)
def test_a_run_from_pretrained_weights_says_it_once(tmp_path, options):
    (text,) = said(tmp_path, CAFFE, **options)
    assert 'model.data_preprocessor.mean is [103.53, 116.28, 123.675]' in text
    assert 'bgr_to_rgb=True' in text


def test_a_run_with_the_right_images_or_from_random_weights_is_silent(tmp_path):
    assert not said(tmp_path / 'right', RGB)
    assert not said(tmp_path / 'random', CAFFE, init_cfg=None)


def test_a_checkpoint_with_a_config_has_its_own_normalisation(tmp_path):
    assert len(said(tmp_path / 'published', CAFFE, init_cfg=None, loaded={})) == 1
    assert not said(tmp_path / 'own', CAFFE, init_cfg=None, loaded=dict(cfg='model = dict()'))
    assert not said(tmp_path / 'resumed', CAFFE, loaded=dict(cfg='model = dict()'))


def test_the_hook_can_be_left_out(tmp_path):
    assert not said(tmp_path, CAFFE, default_hooks=dict(normalisation=None))
