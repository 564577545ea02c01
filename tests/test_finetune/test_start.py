"""What a fine-tuning takes from its checkpoint, and what it says before it trains."""

from dataclasses import replace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from casvit.errors import CheckpointError
from casvit_mm.config.read import load_config
from casvit_mm.finetune.base import LIGHT, STANDARD, choose_base
from casvit_mm.finetune.memory import Measured
from casvit_mm.finetune.start import read_start
from casvit_mm.finetune.timing import describe_time, duration, image_size_for, limited, seconds_of

pytest.importorskip('mmdet')
DEMO = 'mask_rcnn_casvit-xs_demo_shapes'


class Args:
    """The arguments of a command, as far as a config is chosen by them."""

    def __init__(self, task=None, size=None, config=None, heads=None):
        self.task, self.size, self.config, self.heads = task, size, config, heads


def demo(file, **changes):
    """A checkpoint as a run of the demo writes it."""
    cfg = load_config(DEMO, changes)
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=('a', 'b', 'c')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), file)
    return str(file)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return demo(tmp_path_factory.mktemp('run') / 'epoch_1.pth')


def test_model_and_optimizer_are_those_of_the_run_that_wrote_the_checkpoint(checkpoint, tmp_path):
    start = read_start(checkpoint)
    base = choose_base(Args(), start)
    cfg, own = base.placed(tmp_path), load_config(DEMO)
    assert (base.task, start.size, start.classes) == ('instance', 'xs', ('a', 'b', 'c'))
    assert cfg.model.neck == own.model.neck and cfg.model.train_cfg == own.model.train_cfg
    assert cfg.model.backbone.norm_eval is False
    assert cfg.optim_wrapper.optimizer == own.optim_wrapper.optimizer
    assert cfg.optim_wrapper.paramwise_cfg == own.optim_wrapper.paramwise_cfg
    assert cfg.auto_scale_lr.base_batch_size == own.auto_scale_lr.base_batch_size
    assert cfg.runner_type == 'CASViTRunner' and cfg.train_cfg.max_epochs == 12


@pytest.mark.parametrize('what', ['optimizer.type', 'constructor'])
def test_a_recipe_that_may_reach_outside_is_left_out(what, tmp_path):
    start = read_start(demo(tmp_path / 'e.pth', **{f'optim_wrapper.{what}': 'os.system'}))
    assert start.config is not None and not start.recipe
    cfg = choose_base(Args(), start).placed(tmp_path)
    assert cfg.optim_wrapper.optimizer.lr == 2e-4 and 'system' not in cfg.pretty_text


def test_a_fused_model_and_a_foreign_one_are_refused(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, 'meta': dict(structure='fused')}, tmp_path / 'fused.pth')
    with pytest.raises(CheckpointError, match='cannot be trained'):
        read_start(str(tmp_path / 'fused.pth'))
    torch.save(dict(state_dict={'layer1.weight': torch.zeros(1)}), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='holds no CAS-ViT'):
        read_start(str(tmp_path / 'other.pth'))
    with pytest.raises(CheckpointError, match='does not exist'):
        read_start(str(tmp_path / 'none.pth'))


@pytest.mark.parametrize('on_gpu', [False, True])
def test_light_heads_are_chosen_without_a_gpu_and_named_with_the_way_back(monkeypatch, on_gpu):
    from casvit_mm.finetune import base as module

    asked = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: on_gpu)
    monkeypatch.setattr(module, '_sized', lambda name, size: asked.append(name) or (Config(), {}))
    notes = choose_base(Args(task='instance'), None).notes
    wanted = module.BASES['instance'][STANDARD if on_gpu else LIGHT]
    assert asked == [wanted] and bool(notes) is not on_gpu
    assert on_gpu or '--heads standard' in notes[0]
    assert not choose_base(Args(task='instance', heads='standard'), None).notes


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.2, '1 s'), (40, '40 s'), (720, '12 min'), (12000, '3 h 20 min'), (100000, '28 h')],
)
def test_a_time_is_said_as_people_say_it(seconds, text):
    assert duration(seconds) == text


def test_a_long_run_says_how_long_it_takes_and_what_makes_it_shorter():
    from test_finetune_config import make_plan

    plan = make_plan('detection', batch_size=4, epochs=20)
    measured = Measured(2, 0, 1.0, 0.5)
    # 25 steps of 2 s, and 100 images of 0.5 s in each of 20 validations.
    assert seconds_of(plan, measured) == 20 * (25 * 2 + 50)
    first, second = describe_time(plan, measured)
    assert 'A step takes 2 s' in first and 'about 33 min' in first
    assert '--minutes 10 (6 epochs)' in second and '--image-size' not in second
    assert len(describe_time(plan, Measured(4, 0, 0.1, 0.01))) == 1


@pytest.mark.parametrize(
    ('minutes', 'epochs'), [(1, 1), (2, 1), (4, 2), (10, 6), (33, 19), (34, 20)]
)
def test_a_limit_of_minutes_gives_the_epochs_that_fit(minutes, epochs):
    """An epoch takes 50 s, and each validation 50 s."""
    from test_finetune_config import make_plan

    plan = make_plan('detection', batch_size=4, epochs=20)
    assert limited(plan, Measured(2, 0, 1.0, 0.5), minutes).max_epochs == epochs


@pytest.mark.parametrize(
    ('seconds', 'minutes', 'side'),
    [
        (0.1, 10, 640),  # 20 epochs of 25 steps, all that is planned, take less
        (4.0, 10, 320),  # 150 of 500 steps would fit: √0.3 of the side is 350
        (4.0, 30, 576),
        (60.0, 10, 256),
    ],
)
def test_images_are_smaller_if_only_a_few_steps_fit_into_the_minutes(seconds, minutes, side):
    from test_finetune_config import make_plan

    plan = replace(make_plan('detection', batch_size=4, epochs=20), image_size=640)
    measured = Measured(4, 0, seconds, 0.0)
    found = image_size_for(plan, measured, minutes)
    assert found == side
    # The time of a step grows with the number of pixels.
    fits = 60 * minutes >= 500 * seconds * (found / 640) ** 2
    assert fits or found == 256
    assert found == 640 or 60 * minutes < 500 * seconds * ((found + 32) / 640) ** 2
