"""Outputs of classes in a checkpoint move to the rows of the same classes in the new model."""

import pytest
import torch

from casvit_mm.models.checkpoint.class_rows import keep_known_classes

OLD, NEW = ['cat', 'dog', 'cow'], ['dog', 'yak']


def fitted(key, old_rows, new_rows, old=OLD, new=NEW):
    value = torch.arange(old_rows * 2.0).reshape(old_rows, 2) + 1
    model = -torch.ones(new_rows, 2)
    weights, known = keep_known_classes({key: value}, {key: model}, old, new)
    return value, weights[key], known


def test_a_softmax_classifier_keeps_the_known_class_and_the_background():
    old, new, known = fitted('roi_head.bbox_head.fc_cls.weight', 4, 3)
    assert known == ['dog']
    assert torch.equal(new, torch.stack([old[1], torch.tensor([-1.0, -1.0]), old[3]]))


def test_box_outputs_are_ordered_by_class():
    old, new, _ = fitted('roi_head.bbox_head.fc_reg.weight', 12, 8)
    assert torch.equal(new[:4], old[4:8]) and (new[4:] == -1).all()


@pytest.mark.parametrize('name', ['retina_cls', 'rtm_cls.0'])
def test_anchor_outputs_are_ordered_by_anchor(name):
    old, new, _ = fitted(f'bbox_head.{name}.weight', 9, 6)
    for anchor in range(3):
        assert torch.equal(new[anchor * 2], old[anchor * 3 + 1])
        assert (new[anchor * 2 + 1] == -1).all()


@pytest.mark.parametrize(
    'key',
    ['decode_head.conv_seg.weight', 'roi_head.mask_head.conv_logits.weight', 'head.fc.weight'],
)
def test_layers_with_one_output_per_class(key):
    old, new, _ = fitted(key, 3, 2)
    assert torch.equal(new[0], old[1]) and (new[1] == -1).all()


def test_classes_in_another_order_are_reordered_although_the_sizes_match():
    old, new, known = fitted('decode_head.conv_seg.bias', 3, 3, new=['cow', 'cat', 'dog'])
    assert known == ['cow', 'cat', 'dog']
    assert torch.equal(new, old[[2, 0, 1]])


def test_the_same_number_of_different_classes_does_not_take_over_weights():
    _, new, known = fitted('decode_head.conv_seg.weight', 3, 3, new=['a', 'b', 'c'])
    assert known == [] and (new == -1).all()


@pytest.mark.parametrize(
    ('key', 'rows'),
    [
        ('roi_head.mask_head.conv_logits.weight', 1),
        ('roi_head.bbox_head.fc_reg.weight', 4),
        ('backbone.stages.0.0.fc.weight', 6),
        ('rpn_head.rpn_cls.weight', 3),
    ],
)
def test_class_agnostic_layers_stay_as_they_are(key, rows):
    old, new, _ = fitted(key, rows, rows, old=['a', 'b', 'c'], new=['x', 'y', 'z'])
    assert torch.equal(old, new)


def test_the_same_classes_change_nothing():
    old, new, known = fitted('decode_head.conv_seg.weight', 3, 3, new=OLD)
    assert known == [] and torch.equal(old, new)
