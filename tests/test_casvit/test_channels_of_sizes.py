"""casvit.channels: the in_channels of what follows a backbone."""

import pytest

import casvit
from casvit.errors import UserError


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ('xs', [48, 56, 112, 220]),
        ('s', [48, 64, 128, 256]),
        ('m', [64, 96, 192, 384]),
        ('t', [96, 128, 256, 512]),
    ],
)
def test_channels_are_those_of_the_paper(size, expected):
    assert casvit.channels(size) == expected
    assert casvit.channels(size, out_indices=(1, 3)) == [expected[1], expected[3]]


def test_channels_are_those_of_the_features():
    torch = pytest.importorskip('torch')
    from casvit_mm.models import CASViT

    with torch.no_grad():
        features = CASViT('xs', out_indices=(0, 2))(torch.rand(1, 3, 64, 64))
    assert [each.shape[1] for each in features] == casvit.channels('xs', out_indices=(0, 2))


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('b',), r"no size 'b': the sizes are 'xs', 's', 'm', 't', 'l'\."),
        (('S',), r"no size 'S'"),
        (('s', (1, 4)), r'no stage 4 .*0, 1, 2, 3'),
        (('s', (-1,)), r'no stage -1'),
    ],
)
def test_an_unknown_size_or_stage_is_a_sentence(arguments, said):
    with pytest.raises(ValueError, match=said) as error:
        casvit.channels(*arguments)
    assert isinstance(error.value, UserError)
