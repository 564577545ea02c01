"""Hostile files: nothing in them runs, and each is refused in a sentence, soon."""

import json
import os
import resource
import signal
import sys
from pathlib import Path

import pytest
from hostile import HOSTILE, MODULE, mark

from casvit_mm.models import CheckpointError, read_checkpoint

KILLED_AFTER = 60
"""Seconds. None takes more than two on an idle machine."""
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


def _tried(path, events):
    """What becomes of a file."""
    events.clear()
    signal.alarm(KILLED_AFTER)
    try:
        read_checkpoint(path)
        answer = 'loaded'
    except CheckpointError as error:
        answer = '; '.join(events) or f'refused: {error}'
    except BaseException as error:
        answer = f'{type(error).__name__}: {error}'
    signal.alarm(0)
    return answer


def _memory():
    return int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()


def _try_all(files, answers):
    """Tries files in a child process, which ends with the first that kills it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (_memory() + GROWTH,) * 2)
        events = []
        sys.addaudithook(_seen_events(events))
        for path in files.values():
            os.write(writing, json.dumps(_tried(path, events)).encode() + b'\n')
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding='utf-8') as pipe:
        for name, line in zip(files, pipe, strict=False):
            answers[name] = json.loads(line)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope='module')
def tried(tmp_path_factory):
    """The path and the answer of each hostile file."""
    root = tmp_path_factory.mktemp('hostile')
    (root / f'{MODULE}.py').write_text(f'open({str(root / "imported")!r}, "w")\n')
    sys.path.insert(0, str(root))
    files, answers = {}, {}
    for index, (name, make) in enumerate(HOSTILE.items()):
        folder = root / str(index)
        folder.mkdir()
        files[name] = folder / 'weights.pth'
        make(files[name])
    # What reading imports when it is first used: a child must import nothing.
    for name in ('code: EXT1', 'others: safetensors with a gap', 'scanners: protocol 0'):
        with pytest.raises(CheckpointError):
            read_checkpoint(files[name])
    before = _state(root)
    while waiting := {name: path for name, path in files.items() if name not in answers}:
        code = _try_all(waiting, answers)
        left = [name for name in waiting if name not in answers]
        if left:
            answers[left[0]] = f'ended with {code}'
    sys.path.remove(str(root))
    assert _state(root) == before
    return {name: (files[name], answers[name]) for name in files}


def _state(root):
    """What is in a folder, and since when."""
    return sorted(
        (str(path), path.lstat().st_mtime_ns, path.lstat().st_mode) for path in root.rglob('*')
    )


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_file_is_refused_in_a_sentence_and_runs_nothing(name, tried):
    path, answer = tried[name]
    assert answer.startswith('refused: '), answer
    assert answer.isprintable() and answer.endswith('.') and len(answer) < 600
    assert str(path) in answer
    assert not mark(path).exists()


def test_there_are_enough_hostile_files():
    assert len(HOSTILE) >= 300
