"""--trust: the only way to unpickle a file of weights, which says what it risks."""

from datetime import date

import pytest
import torch

from casvit import Predictor, config_path
from casvit.cli.main import run_tool
from casvit.errors import CheckpointError
from casvit.weights.trust import is_trusted, trusting
from casvit_mm.models import CASViT, read_checkpoint


@pytest.fixture
def odd(tmp_path):
    """A file with an object that weights do not need: refused, and harmless."""
    torch.save(dict(state_dict=CASViT('xs').state_dict(), day=date(2026, 1, 1)), tmp_path / 'a.pth')
    return tmp_path / 'a.pth'


def test_a_file_is_only_unpickled_if_it_is_trusted(odd):
    with pytest.raises(CheckpointError, match=r'datetime\.date'):
        read_checkpoint(odd)
    with trusting():
        assert read_checkpoint(odd)['day'] == date(2026, 1, 1)
    assert not is_trusted()
    with trusting(False), pytest.raises(CheckpointError):
        read_checkpoint(odd)


def test_trust_ends_with_an_error():
    with pytest.raises(KeyError), trusting():
        raise KeyError
    assert not is_trusted()


def test_the_command_names_the_risk(odd, capsys):
    out = odd.with_name('out.pth')
    assert run_tool('publish_model', [str(odd), str(out)]) == 2
    assert 'Warning' not in capsys.readouterr().err and not list(odd.parent.glob('out*'))
    assert run_tool('publish_model', [str(odd), str(out), '--trust']) == 0
    assert 'can run any code with your rights' in capsys.readouterr().err
    assert list(odd.parent.glob('out*'))


def test_a_predictor_trusts_only_if_it_is_told_to(odd):
    config = 'mask_rcnn_casvit-xs_demo_shapes'
    with pytest.raises(CheckpointError, match=r'datetime\.date'):
        Predictor(odd, config=config, device='cpu')
    with pytest.raises(CheckpointError, match='does not fit the model'):
        Predictor(odd, config=config, device='cpu', trust=True)


def test_safetensors_need_no_trust_and_damaged_files_are_a_sentence(tmp_path):
    from safetensors.torch import save_file

    save_file({'stem.0.weight': torch.ones(1)}, tmp_path / 'a.pth')
    (tmp_path / 'b.pth').write_bytes(b'not weights')
    with trusting():
        assert torch.equal(
            read_checkpoint(tmp_path / 'a.pth')['state_dict']['stem.0.weight'], torch.ones(1)
        )
        with pytest.raises(CheckpointError, match='cannot be unpickled'):
            read_checkpoint(tmp_path / 'b.pth')


@pytest.mark.parametrize(
    'command', ['train', 'test', 'image_demo', 'finetune', 'fuse', 'publish_model']
)
def test_every_command_that_takes_weights_has_the_option(command, capsys):
    assert run_tool(command, ['--help']) == 0
    assert '--trust' in capsys.readouterr().out


def test_nothing_but_the_option_implies_trust(odd, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('CASVIT_TRUST', '1')
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    config = tmp_path / 'config.py'
    base = config_path('mask_rcnn_casvit-xs_demo_shapes')
    config.write_text(f'_base_ = {str(base)!r}\ntrust = True\nload_weights_only = False\n')
    assert run_tool('fuse', [str(config), str(odd), str(tmp_path / 'out.pth')]) == 2
    said = capsys.readouterr().err
    assert 'datetime.date' in said and 'Warning' not in said
    assert not is_trusted() and not (tmp_path / 'out.pth').exists()
