"""Checkpoints of each task are loaded with a given config or the one that they contain."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from small_models import DEMOS, build, write_checkpoint

from casvit import Classification, Detections, Predictor, SemanticMap
from casvit.errors import UserError
from casvit.inputs.images import ImageError
from casvit_mm.models.checkpoint import CheckpointError

TASKS = list(DEMOS)


@pytest.fixture(scope='session')
def checkpoints(configs, tmp_path_factory):
    """A checkpoint with random weights and its config for each task."""
    folder = tmp_path_factory.mktemp('checkpoints')
    return {
        task: write_checkpoint(Config.fromfile(configs / file), folder / f'{task}.pth')
        for task, file in DEMOS.items()
    }


def image(height, width, seed=0):
    """Smooth noise, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height)))


def assert_equal(one, other):
    """Within the rounding of float32, which random weights amplify."""
    assert type(one) is type(other) and len(one) == len(other)
    if isinstance(one, Detections):
        assert abs(one.scores - other.scores).max() < 1e-4
        assert abs(one.boxes - other.boxes).max() < 0.05
        assert (one.class_ids == other.class_ids).all()
        if one.masks is not None:
            assert (one.dense_masks != other.dense_masks).mean() < 1e-4
    elif isinstance(one, SemanticMap):
        assert (one.class_ids != other.class_ids).mean() < 1e-3
    else:
        assert abs(one.scores - other.scores).max() < 1e-5


@pytest.mark.parametrize('task', TASKS)
def test_a_result_does_not_depend_on_the_rest_of_its_batch(task, checkpoints):
    predict = Predictor(checkpoints[task], score_threshold=0.05, batch_size=3)
    assert predict.task == task
    sizes = [(120, 160), (160, 120), (120, 160), (90, 160), (120, 160), (160, 120), (40, 50)]
    images = [image(*size, seed) for seed, size in enumerate(sizes)]
    alone = [predict(each) for each in images]
    assert len({each.draw().tobytes() for each in alone}) == len(images)
    for one, other in zip(alone, predict(images), strict=True):
        assert_equal(one, other)
        assert (one.height, one.width) == one.image.shape[:2]


@pytest.mark.parametrize('task', ['instance', 'classification'])
def test_a_model_alone_predicts_differently_next_to_a_larger_image(task, checkpoints):
    predict = Predictor(checkpoints[task], score_threshold=0.05)
    # Otherwise the test above could not fail.
    alone, padded = predict(image(120, 160)), predict.backend([image(120, 160), image(160, 160)])[0]
    with pytest.raises((AssertionError, ValueError)):
        assert_equal(alone, padded)


@pytest.mark.parametrize('task', TASKS)
def test_the_config_given_and_the_one_in_the_checkpoint_give_the_same(task, checkpoints, configs):
    saved = Predictor(checkpoints[task], score_threshold=0.05)
    own = image(120, 160)
    cfg = Config.fromfile(configs / DEMOS[task])
    for config in (cfg, configs / DEMOS[task], Path(DEMOS[task]).stem):
        given = Predictor(checkpoints[task], config=config, score_threshold=0.05)
        assert given.classes == saved.classes and given.palette == saved.palette
        assert_equal(saved(own), given(own))


def test_results_are_of_the_type_of_the_task(checkpoints):
    kinds = dict(
        instance=Detections,
        detection=Detections,
        semantic=SemanticMap,
        classification=Classification,
    )
    for task, kind in kinds.items():
        predict = Predictor(checkpoints[task], score_threshold=0)
        result = predict(image(60, 80))
        assert type(result) is kind and len(result)
        assert (result.boxes.dtype == np.float32) if kind is Detections else True
        assert tuple(result.classes) == predict.classes
    assert Predictor(checkpoints['detection'], score_threshold=0)(image(60, 80)).masks is None
    assert sum(one.score for one in result) == pytest.approx(1, abs=1e-5)


def test_the_score_threshold_leaves_out_detections(checkpoints):
    own = image(120, 160)
    every = Predictor(checkpoints['instance'], score_threshold=0)(own)
    middle = float(np.median(every.scores))
    some = Predictor(checkpoints['instance'], score_threshold=middle)(own)
    assert 0 < len(some) < len(every) and some.scores.min() >= middle


def test_a_published_file_asks_for_the_config(configs, tmp_path):
    cfg = Config.fromfile(configs / DEMOS['semantic'])
    path = write_checkpoint(cfg, tmp_path / 'published.pth', {})
    with pytest.raises(UserError, match=r"published\.pth contains no config.*config='\.\.\.'"):
        Predictor(path)
    assert Predictor(path, config=cfg).task == 'semantic'


def test_safetensors_are_read(configs, tmp_path):
    from safetensors.torch import save_file

    cfg = Config.fromfile(configs / DEMOS['classification'])
    save_file(build(cfg).state_dict(), tmp_path / 'a.safetensors')
    predict = Predictor(tmp_path / 'a.safetensors', config=cfg)
    assert predict.classes[0] == 'circle' and len(predict(image(50, 50))) == 6


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(config='gone.py'), ['gone.py does not exist']),
        (dict(config=3), ['config', 'int']),
        (dict(config={}), ['config', 'dict']),
        (dict(config=Config({})), ['no model']),
        (dict(config=Config(dict(model=dict(type='A')))), ['test_dataloader', 'pipeline']),
        (dict(device='cuda:99'), ["'cuda:99' cannot be used"]),
        (dict(device='abacus'), ["'abacus' cannot be used"]),
        (dict(precision='int3'), ["precision='int3'", 'bf16']),
    ],
    ids=str,
)
def test_invalid_options_are_reported_in_sentences(options, words, checkpoints):
    with pytest.raises(UserError) as refused:
        Predictor(checkpoints['semantic'], **options)
    assert all(word in str(refused.value) for word in words), refused.value


def test_files_that_are_not_checkpoints_are_named(tmp_path):
    (tmp_path / 'odd.pth').write_text('no checkpoint')
    with pytest.raises(CheckpointError, match=r'odd\.pth is not a checkpoint'):
        Predictor(tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=r'gone\.pth does not exist'):
        Predictor(tmp_path / 'gone.pth')


def test_weights_of_another_model_are_refused(checkpoints):
    with pytest.raises(CheckpointError, match='does not fit'):
        Predictor(checkpoints['semantic'], config=Path(DEMOS['detection']).stem)


@pytest.mark.parametrize('task', TASKS)
def test_a_fused_model_gives_the_same_results(task, checkpoints):
    own = image(120, 160)
    plain = Predictor(checkpoints[task], score_threshold=0.05)(own)
    assert_equal(plain, Predictor(checkpoints[task], score_threshold=0.05, fuse=True)(own))


def test_a_model_without_a_casvit_cannot_be_fused(tmp_path, configs):
    cfg = Config.fromfile(configs / DEMOS['classification'])
    cfg.model = dict(
        type='ImageClassifier',
        data_preprocessor=cfg.model.data_preprocessor,
        backbone=dict(type='mmpretrain.MobileNetV2', widen_factor=0.25),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=6, in_channels=1280),
    )
    path = write_checkpoint(cfg, tmp_path / 'other.pth', {})
    assert len(Predictor(path, config=cfg)(image(64, 64))) == 6
    with pytest.raises(UserError, match=r'cannot be fused: its backbone is no CASViT'):
        Predictor(path, config=cfg, fuse=True)


def test_images_too_narrow_to_be_resized_are_reported(checkpoints):
    predict = Predictor(checkpoints['instance'])
    with pytest.raises(UserError, match=r'\(1000 x 1 pixels\): too narrow to be resized.*tile='):
        predict(np.zeros((1, 1000, 3), np.uint8))
    assert predict(np.zeros((1, 1000, 3), np.uint8), tile=64).width == 1000


def test_models_of_several_toolboxes_live_in_one_process_and_leave_no_scope_behind(checkpoints):
    before = DefaultScope.get_current_instance()
    predictors = [Predictor(checkpoints[task], score_threshold=0) for task in TASKS]
    for _ in range(2):
        assert all(len(predict(image(60, 80))) for predict in predictors)
    assert DefaultScope.get_current_instance() is before or (
        DefaultScope.get_current_instance().scope_name == before.scope_name
    )


def test_the_moving_average_can_be_selected(configs, tmp_path):
    cfg = Config.fromfile(configs / DEMOS['classification'])
    content = {'model': build(cfg, 0).state_dict(), 'model_ema': build(cfg, 1).state_dict()}
    torch.save(content, tmp_path / 'both.pth')
    own = image(64, 64)
    model, ema = (
        Predictor(tmp_path / 'both.pth', config=cfg, weights=weights)(own)
        for weights in ('model', 'ema')
    )
    assert abs(model.scores - ema.scores).max() > 1e-3
    with pytest.raises(UserError, match='no moving average'):
        torch.save(content['model'], tmp_path / 'one.pth')
        Predictor(tmp_path / 'one.pth', config=cfg, weights='ema')


def test_what_the_loading_step_of_a_config_cannot_read_is_refused(checkpoints, configs, tmp_path):
    steps = "[dict(type='LoadBands', bands=[7]), dict(type='PackDetInputs')]"
    own = tmp_path / 'own.py'
    own.write_text(
        f'_base_ = [{str(configs / DEMOS["detection"])!r}]\n'
        f'test_dataloader = dict(dataset=dict(pipeline={steps}))\n'
    )
    predict = Predictor(checkpoints['detection'], config=str(own))
    Image.fromarray(image(40, 40)).save(tmp_path / 'a.png')
    with pytest.raises(
        ImageError, match=r'a\.png cannot be read with LoadBands, as the config say'
    ):
        predict(tmp_path / 'a.png')
    with pytest.raises(ImageError, match=r'shape \(H, W, bands\), not one of shape \(3,\)'):
        predict(np.zeros(3))


def test_a_config_of_another_toolbox_is_refused_with_those_that_work(
    checkpoints, configs, tmp_path
):
    own = tmp_path / 'own.py'
    base = str(configs / DEMOS['detection'])
    own.write_text(f"_base_ = [{base!r}]\ndefault_scope = 'mmpose'\n")
    with pytest.raises(
        UserError, match=r'own\.py is for mmpose, but inference supports only mmdet'
    ):
        Predictor(checkpoints['detection'], config=str(own))
