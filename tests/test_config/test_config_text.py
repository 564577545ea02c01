"""Configs with braces in their strings: written, read, dumped, and read again."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from casvit_mm.config.text import escape_braces

PAYLOAD = "{{$NOT_SET_ANYWHERE:',),ran:=open('ran','w'),('}}"
NAMES = [
    PAYLOAD,
    '{' + PAYLOAD,
    '{{ fileBasename }}',
    '{{_base_.model}}',
    '{{{{',
    '\\{{$X:1}}',
    '\\\\{{{$X:1}}}',
    '\'"{{$X:1}}',
    'plain { brace }',
]


def test_a_config_means_the_same_each_time_that_its_dump_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = escape_braces(
        f'# {PAYLOAD}\nclasses = {NAMES!r}\nnested = dict(a=[dict(b={NAMES!r})])\n'
    )
    for turn in range(3):
        file = tmp_path / f'{turn}.py'
        file.write_text(text)
        for cfg in (Config.fromfile(file), Config.fromstring(text, '.py')):
            assert cfg.classes == NAMES and cfg.nested.a[0].b == NAMES
        text = escape_braces(cfg.pretty_text)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('literal', [r"'\{{'", r"'\\{{'", r"'\\\{{{'", "'{{{'", "'{ {'"])
@pytest.mark.filterwarnings('ignore:invalid escape sequence')
def test_backslashes_before_a_brace_keep_their_meaning(literal):
    escaped = escape_braces(literal)
    assert '{{' not in escaped and ast.literal_eval(escaped) == ast.literal_eval(literal)


@settings(max_examples=200)
@given(st.text(alphabet='{}\\$:\'"a\n\x00\u2028\udc80'))
def test_any_text_keeps_its_meaning(text):
    escaped = escape_braces(repr(text))
    assert '{{' not in escaped and ast.literal_eval(escaped) == text


def test_text_without_double_braces_is_unchanged():
    text = "a = dict(b={'c': {1: 2}}, d='{x}')  # {}\n"
    assert escape_braces(text) == text
