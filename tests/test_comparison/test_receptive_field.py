"""Effective receptive fields of layers whose fields are known exactly."""

import pytest
import torch
from torch import nn

from casvit_mm.comparison.receptive_field import (
    centre_of,
    energy,
    open_branches,
    receptive_field,
    set_statistics,
    side_of_square,
)


class Levels(nn.Sequential):
    """Layers as a backbone with one level."""

    def forward(self, x):
        return (super().forward(x),)


def ones(count, stride=1):
    """Convolutions 3x3 whose weights are all 1."""
    layers = [nn.Conv2d(1, 1, 3, stride, padding=1, bias=False) for _ in range(count)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    return Levels(*layers)


def images(side=15, count=2):
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def test_a_convolution_sees_nine_pixels_alike():
    found = energy(ones(1), images())
    expected = torch.zeros(15, 15, dtype=torch.float64)
    expected[6:9, 6:9] = 1
    torch.testing.assert_close(found, expected)
    assert [side_of_square(found, share) for share in (0.1, 0.2, 0.5, 1.0)] == [1, 3, 3, 3]


def test_two_convolutions_see_a_triangle():
    line = torch.tensor([1, 2, 3, 2, 1], dtype=torch.float64)
    found = energy(ones(2), images())
    torch.testing.assert_close(found[5:10, 5:10], torch.outer(line, line))
    assert found.sum() == 81
    # The square of side 3 holds 49 of 81.
    assert [side_of_square(found, share) for share in (0.11, 0.5, 0.6, 0.61)] == [1, 3, 3, 5]


def test_the_square_is_where_the_energy_is_not_where_the_image_is():
    # With stride 2, the central feature of 8 x 8 is at pixel (8, 8) of 16 x 16, not between two.
    found = energy(ones(1, stride=2), images(16))
    assert centre_of(found) == (8, 8) and side_of_square(found, 1.0) == 3


def test_the_signs_of_gradients_do_not_cancel_and_channels_are_added():
    layer = nn.Conv2d(2, 1, 1, bias=False)
    layer.weight.data = torch.tensor([2.0, -3.0]).reshape(1, 2, 1, 1)
    assert energy(Levels(layer), torch.zeros(1, 2, 3, 3))[1, 1] == 5


def test_a_layer_norm_at_the_end_hides_nothing():
    class Normalised(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    torch.manual_seed(0)
    backbone = Levels(nn.Conv2d(1, 6, 3, padding=1), Normalised(6)).double()
    found = energy(backbone, images().double())
    assert found[6:9, 6:9].min() > 1e-3 and found.sum() == found[6:9, 6:9].sum()


def test_a_mean_over_the_image_sees_all_of_it():
    # 19 of 20 rows and columns are 90.25%.
    backbone = Levels(nn.AdaptiveAvgPool2d(1))
    found = receptive_field(backbone, images(20))
    assert found['sides'] == {'20%': 9, '50%': 15, '90%': 19}
    assert {value for row in found['map'] for value in row} == {0.0}


def test_the_map_is_in_powers_of_ten_of_its_strongest_cell():
    found = receptive_field(ones(1), images(128, 1))
    assert len(found['map']) == len(found['map'][0]) == 64
    assert found['side'] == 128 and found['centre'] == [64, 64]
    # Two pixels a cell: the field of rows 63 to 65 has one row in one cell, and two in the next.
    assert found['map'][32][32] == 0 and found['map'][31][31] == -0.6
    assert found['map'][0][0] == -4


def test_branches_that_start_near_zero_are_opened_and_biases_stay():
    layers = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    layers.layer_scale = nn.Parameter(1e-5 * torch.ones(3, 1, 1))
    nn.init.zeros_(layers[1].weight)
    nn.init.constant_(layers[2].weight, 0.5)
    kernel = layers[0].weight.clone()
    open_branches(layers)
    assert layers[1].weight.tolist() == [1, 1] and layers.layer_scale.flatten().tolist() == [1] * 3
    assert layers[2].weight.tolist() == [0.5, 0.5] and layers[1].bias.tolist() == [0, 0]
    assert torch.equal(layers[0].weight, kernel)


def test_norms_get_the_statistics_of_the_images_and_stay_in_eval_mode():
    norm = nn.BatchNorm2d(1, momentum=0.1)
    backbone = Levels(norm).eval()
    given = 5 + 3 * images(32, 4)
    set_statistics(backbone, given)
    (level,) = backbone(given)
    assert level.mean().item() == pytest.approx(0, abs=1e-3)
    assert level.std().item() == pytest.approx(1, abs=1e-2)
    assert not norm.training and norm.momentum == 0.1
