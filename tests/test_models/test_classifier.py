"""The classifier: its predictions, its two heads, its teacher."""

import argparse
import copy
import json

import numpy as np
import published
import pytest
import torch
from torch.nn import functional

pytest.importorskip('mmpretrain')
from mmengine.hooks import EMAHook
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from casvit_mm.models import CASViT, CheckpointError, load_into, read_checkpoint
from casvit_mm.models.checkpoint.published_layout import to_native_classifier_key, to_native_key

PARAMETERS = {'xs': 3_200_700, 's': 5_764_224, 'm': 12_421_520, 't': 21_763_120}
CHANNELS = {'xs': 220, 's': 256, 'm': 384, 't': 512}
TINY = dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 8))


def classifier(arch='xs', two_heads=False, classes=1000, channels=None, loss=None, **kwargs):
    head = dict(
        type='CASViTClsHead',
        num_classes=classes,
        in_channels=channels or CHANNELS[arch],
        two_heads=two_heads,
    )
    if loss:
        head['loss'] = loss
    return MODELS.build(
        dict(
            type='CASViTClassifier',
            backbone=dict(type='CASViT', arch=arch, out_indices=(3,), norm_eval=False),
            neck=dict(type='GlobalAveragePooling'),
            head=head,
            **kwargs,
        )
    )


def tiny(two_heads=True, classes=4, **kwargs):
    torch.manual_seed(0)
    model = classifier(TINY, two_heads, classes, channels=8, **kwargs)
    model.init_weights()
    return model


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


@pytest.fixture
def save(tmp_path):
    def write(content, name='weights.pth'):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def log(monkeypatch):
    """The messages that are logged."""
    messages = []
    for module in ('checkpoint.load', 'classifier'):
        monkeypatch.setattr(
            f'casvit_mm.models.{module}.print_log', lambda text, **_: messages.append(str(text))
        )
    return messages


def assert_golden(model, size):
    expected = published.outputs()[f'{size}/classification/logits']
    with torch.no_grad():
        logits = model.eval()(published.image(224, 224, 2)).numpy()
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()


def without_second_head(weights):
    return {key: value for key, value in weights.items() if not key.startswith('dist_head.')}


@pytest.mark.parametrize('size', published.SIZES)
def test_logits_from_a_published_file_match_the_published_ones(size, save, log):
    weights = published.weights(size, 'classification')
    args = argparse.Namespace(lr=6e-3, model=f'rcvit_{size}')
    file = save({'model': weights, 'optimizer': {'state': {}}, 'epoch': 299, 'args': args})
    model = classifier(size, two_heads=True)
    report = load_into(model, read_checkpoint(file), strict=True)
    assert not report.describe() and not report.notes
    assert_golden(model, size)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[size]


@pytest.mark.parametrize('size', published.SIZES)
def test_translated_published_keys_are_exactly_those_of_the_classifier(size):
    weights = published.weights(size, 'classification')
    native = [
        '.'.join(['backbone', to_native_key(key.removeprefix('backbone.'))])
        if key.startswith('backbone.')
        else key
        for key in map(to_native_classifier_key, weights)
    ]
    assert sorted(native) == sorted(classifier(size, two_heads=True).state_dict())


def test_a_file_with_two_heads_gives_the_same_logits_in_a_classifier_with_one(save, log):
    file = save({'model': published.weights('xs', 'classification')})
    model = classifier('xs')
    report = load_into(model, read_checkpoint(file), strict=True, source='it')
    assert not report.describe()
    assert_golden(model, 'xs')
    assert log == ['it: merged the two heads into their mean, which predicts the same']


def test_a_file_with_one_head_gives_the_same_logits_in_a_classifier_with_two(save, log):
    weights = without_second_head(published.weights('xs', 'classification'))
    one, two = classifier('xs'), classifier('xs', two_heads=True)
    for model in (one, two):
        load_into(model, read_checkpoint(save({'model': weights})), strict=True, source='it')
    assert log == ['it: copied the single head into both heads, which predicts the same']
    image = published.image(64, 64)
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(image), two.eval()(image))


def test_native_files_can_also_change_the_number_of_heads(save, log):
    two, one = tiny(), tiny(two_heads=False)
    image = torch.rand(2, 3, 32, 32)
    load_into(one, read_checkpoint(save({'state_dict': two.state_dict()})), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(image), two.eval()(image))
    assert any('merged the two heads' in text for text in log)


def test_a_published_file_also_loads_with_plain_load_state_dict():
    model = classifier('xs', two_heads=True)
    model.load_state_dict(published.weights('xs', 'classification'), strict=True)
    assert_golden(model, 'xs')


def test_the_moving_average_is_loaded_on_request(save):
    trained = published.weights('xs', 'classification')
    average = {key: value * 0.5 for key, value in trained.items()}
    file = save({'model': trained, 'model_ema': average})
    assert read_checkpoint(file)['state_dict']['head.bias'].equal(trained['head.bias'])
    assert read_checkpoint(file, weights='ema')['state_dict']['head.bias'].equal(
        average['head.bias']
    )
    pretrained = dict(type='Pretrained', checkpoint=str(file), weights='ema')
    model = classifier('xs', two_heads=True, init_cfg=pretrained)
    model.init_weights()
    assert model.head.fc.bias.data.equal(average['head.bias'])
    backbone = CASViT('xs', init_cfg=pretrained)
    backbone.init_weights()
    assert backbone.stem[0].bias.data.equal(average['patch_embed.0.bias'])


def test_a_file_without_a_moving_average_is_reported(save):
    file = save({'model': published.weights('xs', 'classification')})
    with pytest.raises(CheckpointError, match='holds no moving average'):
        read_checkpoint(file, weights='ema')
    with pytest.raises(ValueError, match="expected 'model' or 'ema'"):
        read_checkpoint(file, weights='averages')


def test_from_a_run_with_ema_hook_the_average_is_loaded(save):
    runner = argparse.Namespace(model=tiny())
    hook = EMAHook(momentum=0.5)
    hook.before_run(runner)
    with torch.no_grad():
        for parameter in hook.ema_model.module.parameters():
            parameter.fill_(7.0)
    content = {'state_dict': runner.model.state_dict(), 'meta': {}}
    hook.before_save_checkpoint(runner, content)
    file = save(content)
    for wanted in ('model', 'ema'):
        weights = read_checkpoint(file, weights=wanted)['state_dict']
        assert (weights['head.fc.weight'] == 7).all(), wanted


def test_a_head_for_other_classes_is_new_but_the_norm_before_it_is_loaded(save, log):
    weights = published.weights('xs', 'classification')
    file = save({'model': weights})
    pretrained = dict(type='Pretrained', checkpoint=str(file))
    model = classifier('xs', two_heads=True, classes=5, init_cfg=pretrained)
    model.init_weights()
    assert model.backbone.out_norms['3'].weight.data.equal(weights['norm.weight'])
    (line,) = [text for text in log if 'with a different shape' in text]
    assert 'head.fc.bias (1000,) in the file, (5,) in the model' in line
    with pytest.raises(CheckpointError, match=r'head\.fc\.bias'):
        load_into(model, read_checkpoint(file), strict=True)


def test_a_file_of_another_size_is_rejected_and_the_error_names_both_sizes(save):
    file = save({'model': published.weights('s', 'classification')})
    with pytest.raises(CheckpointError, match='looks like size S, the config says XS') as error:
        load_into(classifier('xs'), read_checkpoint(file), strict=False)
    assert 'init_cfg' not in str(error.value)


def test_the_error_for_a_missing_pretrained_file_names_the_option_of_the_classifier():
    pretrained = dict(type='Pretrained', checkpoint='checkpoints/none.pth')
    model = classifier(TINY, channels=8, init_cfg=pretrained)
    with pytest.raises(CheckpointError, match=r'model\.init_cfg\.checkpoint=FILE'):
        model.init_weights()


def test_training_returns_both_logits_and_evaluation_their_mean():
    model, images = tiny(), torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        first, second = model.train()(images)
        mean = model.eval()(images)
        features = model.extract_feat(images)[-1]
    assert first.shape == second.shape == mean.shape == (3, 4)
    torch.testing.assert_close(
        mean, (model.head.fc(features) + model.head.dist_fc(features)).detach() / 2
    )


def test_both_heads_learn_the_labels_with_half_the_loss_each():
    loss = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    model, images = tiny(loss=loss), torch.rand(3, 3, 32, 32)
    labels = torch.tensor([0, 3, 1])
    losses = model.train()(images, samples(0, 3, 1), mode='loss')
    both = model(images)
    for name, logits in zip(('loss_cls', 'loss_dist'), both, strict=True):
        expected = functional.cross_entropy(logits, labels, label_smoothing=0.1) / 2
        torch.testing.assert_close(losses[name], expected)
    total, _ = model.parse_losses(losses)
    total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_one_head_has_one_loss():
    model = tiny(two_heads=False).train()
    losses = model(torch.rand(2, 3, 32, 32), samples(0, 1), mode='loss')
    assert list(losses) == ['loss']
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 4)


def test_predictions_are_scores_that_sum_to_one():
    (prediction,) = tiny().eval()(torch.rand(1, 3, 32, 32), mode='predict')
    assert prediction.pred_score.shape == (4,)
    assert prediction.pred_score.sum().item() == pytest.approx(1)


def test_the_head_is_initialised_as_published():
    model = tiny(classes=1000)
    for layer in (model.head.fc, model.head.dist_fc):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()


@pytest.fixture
def taught(save):
    """A student, its teacher, and the original of the teacher."""
    teacher = tiny(two_heads=False)
    with torch.no_grad():
        teacher.head.fc.bias += torch.tensor([0.0, 0.0, 100.0, 0.0])
    file = save({'state_dict': teacher.state_dict()}, 'teacher.pth')
    config = dict(
        type='CASViTClassifier',
        backbone=dict(type='CASViT', arch=TINY, out_indices=(3,), norm_eval=False),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='CASViTClsHead', num_classes=4, in_channels=8),
        init_cfg=dict(type='Pretrained', checkpoint=str(file)),
    )
    student = tiny(teacher=config)
    return student, student._teacher.module, teacher


def test_the_second_head_learns_the_predictions_of_the_teacher(taught):
    student, _, _ = taught
    images = torch.rand(3, 3, 32, 32)
    losses = student.train()(images, samples(0, 3, 1), mode='loss')
    first, second = student(images)
    torch.testing.assert_close(
        losses['loss_cls'], functional.cross_entropy(first, torch.tensor([0, 3, 1])) / 2
    )
    torch.testing.assert_close(
        losses['loss_dist'], functional.cross_entropy(second, torch.tensor([2, 2, 2])) / 2
    )


def test_the_teacher_is_frozen_and_not_part_of_the_student(taught):
    student, teacher, original = taught
    assert student.state_dict().keys() == tiny().state_dict().keys()
    own = {id(p) for p in student.parameters()}
    assert not any(id(p) in own or p.requires_grad for p in teacher.parameters())
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    losses = student.train()(torch.rand(2, 3, 32, 32), samples(0, 1), mode='loss')
    sum(losses.values()).backward()
    assert not teacher.training
    assert all(value.equal(before[key]) for key, value in teacher.state_dict().items())
    assert all(value.equal(before[key]) for key, value in original.state_dict().items())
    assert copy.deepcopy(student)._teacher.module is teacher, 'a moving average copies the model'


def test_the_teacher_is_converted_together_with_the_student(taught):
    student, teacher, _ = taught
    student.double()
    assert {p.dtype for p in teacher.parameters()} == {torch.float64}


def test_a_student_is_tested_without_its_teacher(taught):
    config = dict(type='CASViTClassifier', init_cfg=dict(type='Pretrained', checkpoint='gone.pth'))
    student = classifier(TINY, True, 4, channels=8, teacher=config)
    student.load_state_dict(taught[0].state_dict())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(student.eval()(images), taught[0].eval()(images))
    with pytest.raises(RuntimeError, match=r'init_weights\(\)'):
        student.train()(images, samples(0, 1), mode='loss')


def test_a_teacher_without_weights_or_without_a_second_head_is_rejected():
    pretrained = dict(type='Pretrained', checkpoint='some.pth')
    with pytest.raises(ValueError, match='nothing can be learned'):
        tiny(teacher=dict(type='ImageClassifier'))
    with pytest.raises(ValueError, match='two_heads=True'):
        tiny(two_heads=False, teacher=dict(type='ImageClassifier', init_cfg=pretrained))


def test_a_teacher_for_other_classes_is_rejected(taught, save):
    teacher = tiny(two_heads=False, classes=7)
    file = save({'state_dict': teacher.state_dict()}, 'seven.pth')
    config = dict(taught[0]._teacher_cfg, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    config['head'] = dict(config['head'], num_classes=7)
    with pytest.raises(CheckpointError, match='has 7 classes, the model 4'):
        tiny(teacher=config)


def test_any_classifier_of_mmpretrain_can_teach(save):
    config = dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=4, in_channels=64),
    )
    file = save({'state_dict': MODELS.build(copy.deepcopy(config)).state_dict()}, 'resnet.pth')
    config['init_cfg'] = dict(type='Pretrained', checkpoint=str(file))
    student = tiny(teacher=config)
    losses = student.train()(torch.rand(2, 3, 32, 32), samples(0, 1), mode='loss')
    assert set(losses) == {'loss_cls', 'loss_dist'}


def test_the_golden_keys_include_both_heads():
    """The other tests rely on key lists of files with two heads."""
    keys = json.loads((published.GOLDEN / 'official_keys/xs_classification.json').read_text())
    assert {'norm.weight', 'head.weight', 'dist_head.weight'} <= keys.keys()
