"""What users see when something goes wrong."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import Registry
from torch._inductor import config as inductor_config

from casvit.cli.errors import explain, present
from casvit.errors import CliError, DatasetError
from casvit_mm.models.checkpoint import CheckpointError

THINGS = Registry('things_that_refuse')


@THINGS.register_module()
class Refuser:
    """Always raises an error."""

    def __init__(self, kind: str) -> None:
        if kind == 'data':
            raise DatasetError('The file x.json is no JSON.')
        raise ValueError(f'{kind} is not one of a, b')


def raised(action, *args, **kwargs) -> BaseException:
    """The error that an action raises."""
    try:
        action(*args, **kwargs)
    except BaseException as error:
        return error
    raise AssertionError('nothing was raised')


@pytest.mark.parametrize('kind', [CliError, CheckpointError, DatasetError])
def test_a_user_error_is_one_sentence_and_exit_code_2(kind, capsys):
    assert present(kind('The file x is missing.'), 'casvit train', debug=False) == 2
    assert capsys.readouterr().err == 'casvit train: error: The file x is missing.\n'


def test_debug_shows_the_traceback_of_a_user_error(capsys):
    error = raised(Refuser, 'data')
    assert present(error, 'casvit train', debug=True) == 2
    assert 'Traceback' in capsys.readouterr().err


def test_an_interrupt_is_one_line_and_exit_code_130(capsys):
    assert present(KeyboardInterrupt(), 'casvit train', debug=False) == 130
    assert capsys.readouterr().err.strip() == 'casvit train: interrupted'


def test_an_interrupt_that_a_library_took_for_an_error_of_its_own_is_still_one(monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    # mmengine imports it with its module, or when it is needed.
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', interrupted)
    monkeypatch.setattr('mmengine.config.config.FormatCode', interrupted, raising=False)
    error = raised(lambda: Config(dict(lr=0.1)).pretty_text)
    assert isinstance(error, SyntaxError)
    assert present(error, 'casvit train', debug=False) == 130
    assert capsys.readouterr().err.strip() == 'casvit train: interrupted'


def test_an_error_that_users_can_mend_is_named_even_if_it_came_up_after_an_interrupt(capsys):
    def ended():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise CheckpointError('The disk is full.')  # noqa: B904

    assert present(raised(ended), 'casvit train', debug=False) == 2
    assert capsys.readouterr().err == 'casvit train: error: The disk is full.\n'


def test_a_bug_keeps_its_traceback_and_exit_code_1(capsys):
    error = raised(lambda: {}['missing'])
    assert present(error, 'casvit train', debug=False) == 1
    assert 'Traceback' in capsys.readouterr().err


def test_a_value_that_a_registry_refuses_names_the_type_and_the_reason():
    error = raised(THINGS.build, dict(type='Refuser', kind='z'))
    assert explain(error).endswith('z is not one of a, b')
    assert "type='Refuser'" in explain(error)


def test_an_unregistered_type_is_named_with_the_way_to_register_it():
    said = explain(raised(THINGS.build, dict(type='Refusre')))
    assert "type='Refusre'" in said and 'custom_imports' in said


def test_an_argument_that_a_class_does_not_take_is_a_config_error():
    said = explain(raised(THINGS.build, dict(type='Refuser', sort='z')))
    assert "type='Refuser'" in said and 'sort' in said


def test_a_user_error_inside_a_registry_keeps_its_own_message():
    error = raised(THINGS.build, dict(type='Refuser', kind='data'))
    assert explain(error) == 'The file x.json is no JSON.'


def test_a_message_wrapped_by_a_registry_is_unwrapped():
    def wrap():
        try:
            raise DatasetError('No JSON.')
        except DatasetError as error:
            raise type(error)(f'class `X` in x.py: {error}')  # noqa: B904

    assert explain(raised(wrap)) == 'No JSON.'


def test_a_damaged_image_is_named():
    said = explain(AssertionError('failed to load image: data/a.jpg'))
    assert 'data/a.jpg' in said and 'damaged' in said


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    error = raised((tmp_path / 'file' / 'folder').mkdir)
    assert str(tmp_path / 'file') in explain(error)


@pytest.mark.skipif(torch.__version__ < '2.4', reason='torch before 2.4 compiles for minutes')
def test_a_missing_compiler_says_what_to_install_or_leave_out():
    torch._dynamo.reset()
    doubled = torch.compile(lambda x: 2 * x.sin())
    with inductor_config.patch({'cpp.cxx': ('/nowhere/g++',)}):
        sentence = explain(raised(doubled, torch.rand(7)))
    assert sentence.startswith('torch.compile failed: ')
    assert '/nowhere/g++' in sentence and 'leave out --compile' in sentence
    assert '\n' not in sentence


def test_running_out_of_memory_says_what_to_reduce():
    assert 'batch_size' in explain(RuntimeError('CUDA out of memory. Tried …'))
