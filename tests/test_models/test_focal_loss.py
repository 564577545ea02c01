"""The focal loss of the demos, against its formula and mmdet's."""

import pytest
import torch
from mmdet.models import FocalLoss
from mmengine.registry import MODELS, DefaultScope

import casvit_mm  # noqa: F401
from casvit_mm.models import SteadyFocalLoss

LABELS = torch.tensor([0, 2, 3, 1, 3, 3])


def gradient(loss, logits, target, **options):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target, **options)
    value.sum().backward()
    return value.detach(), logits.grad


def one_hot(labels):
    return torch.eye(4)[labels][:, :3]


def slope(logit, found, gamma, alpha):
    """The derivative of the paper's formula at one logit, in double precision."""
    x = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    sign, share = (1, alpha) if found else (-1, 1 - alpha)
    # log p and log(1 - p), without rounding to 0.
    right, wrong = (torch.nn.functional.logsigmoid(each * x) for each in (sign, -sign))
    loss = -share * torch.exp(gamma * wrong) * right
    return torch.autograd.grad(loss, x)[0].item()


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize('target', [LABELS, one_hot(LABELS)], ids=['labels', 'one-hot'])
def test_usual_predictions_have_the_loss_and_gradients_of_mmdet_bit_for_bit(gamma, target):
    torch.manual_seed(0)
    logits = 4 * torch.randn(6, 3)
    options = dict(weight=torch.rand(6), avg_factor=5)
    own, theirs = (
        gradient(kind(gamma=gamma, alpha=0.5), logits, target, **options)
        for kind in (SteadyFocalLoss, FocalLoss)
    )
    assert torch.equal(own[0], theirs[0]) and torch.equal(own[1], theirs[1])


@pytest.mark.parametrize('gamma', [0.25, 0.5, 0.9])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('size', [20.0, 90.0, 1000.0])
def test_certain_predictions_have_finite_gradients(gamma, dtype, size):
    logits = torch.full((6, 3), -size)
    # The first sample is right; in the second and the last, a wrong class is found.
    logits[0, 0] = logits[1, 1] = logits[5, 0] = size
    _, theirs = gradient(FocalLoss(gamma=gamma), logits, LABELS)
    assert theirs.isnan().any()
    loss = SteadyFocalLoss(gamma=gamma, alpha=0.5, reduction='none')
    value, found = gradient(loss, logits.to(dtype), LABELS)
    hot = one_hot(LABELS)
    for i in range(6):
        for j in range(3):
            wanted = slope(logits[i, j].item(), hot[i, j] > 0, gamma, 0.5)
            assert found[i, j].item() == pytest.approx(wanted, rel=torch.finfo(dtype).eps, abs=1e-8)
    assert value.isfinite().all()


def test_configs_name_it():
    with DefaultScope.overwrite_default_scope('mmdet'):
        loss = MODELS.build(dict(type='SteadyFocalLoss', gamma=0.5, alpha=0.5))
    assert isinstance(loss, FocalLoss) and loss.gamma == 0.5
