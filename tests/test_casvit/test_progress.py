"""Progress is a bar on a terminal, and a line now and then in a file."""

import io

import pytest
from terminals import Terminal

from casvit.terminal import progress
from casvit.terminal.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that is moved by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


def test_work_of_seconds_writes_nothing_to_a_file(clock):
    file = io.StringIO()
    for _ in Progress(range(50), desc='reading images', unit='image', file=file, mininterval=0):
        clock[0] += 0.5
    assert file.getvalue() == ''


def test_long_work_writes_lines_to_a_file_less_and_less_often(clock):
    file = io.StringIO()
    options = dict(desc='reading images', unit='image', file=file, mininterval=0)
    for _ in Progress(range(3600), **options):
        clock[0] += 1
    lines = file.getvalue().splitlines()
    assert lines[0] == 'reading images: 30/3600 image'
    assert 5 < len(lines) < 40 and '\r' not in file.getvalue()


def test_bytes_are_counted_in_short_numbers(clock):
    file = io.StringIO()
    with Progress(unit='B', unit_scale=True, file=file, mininterval=0) as bar:
        bar.update(1)
        clock[0] = 60
        bar.total = 50_000_000
        bar.update(12_000_000)
    assert file.getvalue() == '12.0M/50.0M B\n'


def test_a_terminal_gets_a_bar():
    terminal = Terminal()
    for _ in Progress(range(3), desc='reading images', unit='image', file=terminal.stream):
        pass
    text = terminal.text()
    assert 'reading images: 100%|' in text and '3/3' in text
