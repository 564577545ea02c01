"""Batch norms folded into the layers beside them."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from casvit_mm.deploy import convolutions
from casvit_mm.deploy.convolutions import FusedConv2d, weighted_sum
from casvit_mm.deploy.folding import fold_into_next, fold_into_previous
from casvit_mm.models.conv_norm import is_foldable
from casvit_mm.speed.matrix_products import works_in


def trained_norm(channels, affine=True, **options):
    """A batch norm as it is after training: none of its numbers is 0 or 1."""
    norm = nn.BatchNorm2d(channels, affine=affine, **options).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 4)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


def assert_equal(actual, expected):
    assert actual.dtype == expected.dtype
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


shapes = dict(
    channels=st.sampled_from([1, 2, 6]),
    kernel=st.sampled_from([1, 2, 3]),
    stride=st.sampled_from([1, 2]),
    depthwise=st.booleans(),
    bias=st.booleans(),
    affine=st.booleans(),
    seed=st.integers(0, 99),
)


@settings(max_examples=60)
@given(**shapes)
def test_a_norm_behind_any_convolution_folds(
    channels, kernel, stride, depthwise, bias, affine, seed
):
    torch.manual_seed(seed)
    groups = channels if depthwise else 1
    convolution = nn.Conv2d(
        channels, 2 * channels, kernel, stride, kernel // 2, groups=groups, bias=bias
    )
    norm = trained_norm(2 * channels, affine, eps=1e-3)
    x = torch.randn(2, channels, 7, 5)
    before = {name: value.clone() for name, value in convolution.state_dict().items()}
    assert_equal(fold_into_previous(convolution, norm)(x), norm(convolution(x)))
    for name, value in convolution.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('stride', [1, 2])
def test_a_norm_before_a_1x1_convolution_folds(bias, stride):
    torch.manual_seed(0)
    norm, convolution = trained_norm(6), nn.Conv2d(6, 4, 1, stride, bias=bias)
    x = torch.randn(2, 6, 5, 7)
    assert_equal(fold_into_next(norm, convolution)(x), convolution(norm(x)))


def test_a_norm_before_a_linear_layer_folds():
    torch.manual_seed(0)
    norm, linear = trained_norm(6), nn.Linear(6, 4)
    x = torch.randn(2, 6, 1, 1)
    assert_equal(fold_into_next(norm, linear)(x.flatten(1)), linear(norm(x).flatten(1)))


@pytest.mark.parametrize(
    'convolution', [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, padding=1), nn.Conv2d(4, 4, 1, groups=2)]
)
def test_a_norm_before_a_convolution_that_sees_padding_or_groups_is_refused(convolution):
    with pytest.raises(ValueError, match='1x1'):
        fold_into_next(trained_norm(4), convolution)


def test_only_batch_norms_with_statistics_fold():
    assert is_foldable(nn.BatchNorm2d(4))
    assert is_foldable(nn.SyncBatchNorm(4))
    assert not is_foldable(nn.BatchNorm2d(4, track_running_stats=False))
    assert not is_foldable(nn.GroupNorm(2, 4))
    assert not is_foldable(None)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('activation', [None, 'relu', 'gelu'])
@pytest.mark.parametrize('depthwise', [True, False])
def test_one_pass_equals_a_convolution_and_what_follows_it(depthwise, activation, layout):
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 3, padding=1, groups=8 if depthwise else 1).to(memory_format=layout)
    fused = FusedConv2d(plain, activation)
    x = torch.randn(2, 8, 9, 11).contiguous(memory_format=layout)
    act = {None: nn.Identity(), 'relu': nn.ReLU(), 'gelu': nn.GELU()}[activation]
    with torch.no_grad():
        expected = act(plain.double()(x.double())).float()
        plain.float()
        assert_equal(fused(x), expected)
        assert_equal(FusedConv2d(plain)(x, residual=x), plain(x) + x)


@pytest.mark.parametrize('activation', [None, 'relu', 'gelu'])
def test_one_pass_under_autocast_answers_in_bfloat16_and_keeps_its_weights(activation):
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.randn(2, 8, 9, 11).contiguous(memory_format=torch.channels_last)
    fused = FusedConv2d(plain, activation)
    with torch.no_grad():
        for residual in (None, x) if activation is None else (None,):
            expected = fused(x, residual)
            with torch.autocast('cpu', torch.bfloat16):
                answer = fused(x, residual)
            assert answer.dtype == torch.bfloat16
            # bfloat16 has 8 bits of a number.
            assert (answer.float() - expected).abs().max() <= 2**-7 * expected.abs().max()
    assert fused.weight is plain.weight and fused.weight.dtype == torch.float32


def processor(monkeypatch, *, takes_bf16):
    """A processor whose convolutions take bfloat16 in one pass, or not; says what they were given.

    Which of the two this machine has must not matter: the operator is replaced by what it computes.
    """
    seen = []

    def operator(x, weight, bias, padding, stride, dilation, groups, activation, *_):
        seen.append(x.dtype)
        x = nn.functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
        return convolutions.ACTIVATIONS.get(activation, nn.Identity())(x)

    def binary(x, residual, weight, bias, *others):
        return residual + operator(x, weight, bias, *others[:4], 'none')

    operator.binary = binary
    fake = SimpleNamespace(
        _convolution_pointwise=operator, _is_mkldnn_bf16_supported=lambda: takes_bf16
    )
    monkeypatch.setattr(torch.ops, 'mkldnn', fake)
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: True)
    monkeypatch.setattr(convolutions, 'ONE_PASS', convolutions.one_pass_precisions())
    return seen


@pytest.mark.parametrize('takes_bf16', [True, False])
@pytest.mark.parametrize('activation', [None, 'relu', 'gelu'])
def test_one_pass_is_left_out_in_a_precision_that_the_processor_does_not_take(
    activation, takes_bf16, monkeypatch
):
    seen = processor(monkeypatch, takes_bf16=takes_bf16)
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 3, padding=1)
    x = torch.randn(2, 8, 9, 11)
    fused = FusedConv2d(plain, activation)
    act = {None: nn.Identity(), 'relu': nn.ReLU(), 'gelu': nn.GELU()}[activation]
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        answer = fused(x)
        assert answer.dtype == torch.bfloat16
        assert torch.equal(answer, act(plain(x)))
        assert torch.equal(FusedConv2d(plain)(x, residual=x), x.bfloat16() + plain(x))
    assert seen == [torch.bfloat16] * 2 * takes_bf16
    with torch.no_grad():
        fused(x)
    assert seen[-1:] == [torch.float32]


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_other_precisions_never_go_in_one_pass(dtype, monkeypatch):
    if not works_in('cpu', dtype):
        pytest.skip(f'this torch has no convolution of {dtype} on a CPU')
    seen = processor(monkeypatch, takes_bf16=True)
    plain = nn.Conv2d(4, 4, 1).to(dtype)
    x = torch.ones(1, 4, 2, 2, dtype=dtype)
    with torch.no_grad():
        assert torch.equal(FusedConv2d(plain, 'relu')(x), plain(x).relu())
    assert not seen


def test_a_torch_that_does_not_say_what_the_processor_takes_is_not_relied_on(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: True)
    fake = SimpleNamespace(_convolution_pointwise=None)
    monkeypatch.setattr(torch.ops, 'mkldnn', fake)
    assert convolutions.one_pass_precisions() == (torch.float32,)
    monkeypatch.setattr(torch.ops, 'mkldnn', SimpleNamespace())
    assert convolutions.one_pass_precisions() == ()
    monkeypatch.setattr(torch.ops, 'mkldnn', fake)
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    assert convolutions.one_pass_precisions() == ()


@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize('channels', [2, 8])
@pytest.mark.parametrize('side', [1, 7])
def test_the_convolution_of_a_gate_is_a_weighted_sum(groups, channels, side):
    torch.manual_seed(0)
    plain = nn.Conv2d(8, channels, 1, groups=groups, bias=False)
    x = torch.randn(2, 8, side, side + side // 2)
    with torch.no_grad():
        assert_equal(weighted_sum(plain, x), plain(x))
        assert weighted_sum(plain, x.bfloat16()).dtype == torch.bfloat16


def test_a_gradient_flows_through_a_fused_convolution_to_its_input():
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 4, 3).requires_grad_(False)
    gradients = []
    for layer in (nn.Sequential(plain, nn.GELU()), FusedConv2d(plain, 'gelu')):
        x = torch.linspace(-1, 1, 75).view(1, 3, 5, 5).requires_grad_()
        layer(x).square().sum().backward()
        gradients.append(x.grad)
    assert_equal(*gradients)
