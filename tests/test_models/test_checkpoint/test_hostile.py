"""Hostile files: nothing in them runs, and each is refused in a sentence, soon."""

import os
import resource
import signal
import sys
import time
import traceback

import pytest
from hostile import HOSTILE, MODULE, mark

from casvit_mm.models import CheckpointError, read_checkpoint

SECONDS = 10
"""For files that take more than the two seconds that they should on a busy machine."""
GROWTH = 2**30
FORBIDDEN = ('exec', 'compile', 'import', 'os.', 'subprocess.', 'socket.', 'shutil.', 'ctypes.')
"""Starts of the events that Python reports if something runs, is written or connected."""


def _seen_events(events):
    def look(event, arguments):
        writes = (
            event == 'open' and isinstance(arguments[1], str) and set(arguments[1]) & set('wax+')
        )
        if writes or event.startswith(FORBIDDEN):
            events.append(f'{event} {arguments!r:.200}')

    return look


def _tried(path):
    """What becomes of a file, in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (_memory() + GROWTH,) * 2)
    signal.alarm(SECONDS)
    events = []
    sys.addaudithook(_seen_events(events))
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        seen = list(events)
        return '; '.join(seen) or f'refused: {error}'
    return 'loaded'


def _memory():
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def in_a_child(function, *arguments):
    """The text that a function returns in a child process, or how the child ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = function(*arguments)
        except BaseException:
            answer = traceback.format_exc()
        os.write(writing, answer.encode('utf-8', 'replace')[:60_000])
        os._exit(0)
    os.close(writing)
    with open(reading, encoding='utf-8') as pipe:
        answer = pipe.read()
    status = os.waitpid(child, 0)[1]
    return f'ended with signal {os.WTERMSIG(status)}' if os.WIFSIGNALED(status) else answer


@pytest.fixture(scope='module', autouse=True)
def _everything_is_imported(tmp_path_factory):
    """What reading imports when it is first used: a child must import nothing."""
    for name in ('code: EXT1', 'others: safetensors with a gap', 'others: empty'):
        path = tmp_path_factory.mktemp('first') / 'weights.pth'
        HOSTILE[name](path)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_file_is_refused_in_a_sentence_and_runs_nothing(name, tmp_path, monkeypatch):
    (tmp_path / f'{MODULE}.py').write_text(f'open({str(tmp_path / "imported")!r}, "w")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / 'weights.pth'
    HOSTILE[name](path)
    before = sorted(tmp_path.iterdir())
    start = time.perf_counter()
    answer = in_a_child(_tried, path)
    seconds = time.perf_counter() - start
    assert answer.startswith('refused: '), answer
    assert (
        '\n' not in answer and answer.endswith('.') and len(answer) < 600 and answer.isprintable()
    )
    assert str(path) in answer
    assert sorted(tmp_path.iterdir()) == before
    assert not mark(path).exists() and not (tmp_path / 'imported').exists()
    assert seconds < SECONDS


def test_there_are_enough_hostile_files():
    assert len(HOSTILE) >= 200
