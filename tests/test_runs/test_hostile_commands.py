"""Hostile files given to the commands, each in a process of its own as a user would start it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import HOSTILE, MODULE, mark
from quick_runs import DEMO, QUICK

from casvit_mm.datasets.shapes import objects as shapes

SECONDS = 300
COMMANDS = {
    'code: calls os.system': ('test', DEMO, 'FILE', '--data-root', 'DATA', *QUICK),
    'code: calls os.system in a legacy file': ('fuse', DEMO, 'FILE', 'OUT'),
    'scanners: protocol 4': ('publish_model', 'FILE', 'OUT'),
    'code: calls builtins.exec': ('image_demo', 'DATA/val', DEMO, 'FILE', '--device', 'cpu'),
    f'code: calls {MODULE}.run': ('publish_model', 'FILE', 'OUT'),
    'archives: TorchScript code': (
        *('train', DEMO, '--data-root', 'DATA', '--work-dir', 'RUN', *QUICK, 'load_from=FILE'),
    ),
    'archives: compressed 64 MB': ('fuse', DEMO, 'FILE', 'OUT'),
    'tensors: objects over bytes': (
        *('train', DEMO, '--data-root', 'DATA', '--work-dir', 'RUN', '--resume', 'FILE', *QUICK),
    ),
    'tensors: stride of zero with 10**12 elements': ('publish_model', 'FILE', 'OUT'),
    'bombs: lists that double 60 times': ('image_demo', 'DATA/val', DEMO, 'FILE'),
    'bombs: numbers of the memo of the same hash': ('publish_model', 'FILE', 'OUT'),
    'streams: tar with a pipe': (
        *('finetune', 'DATA', '--task', 'instance', '--checkpoint', 'FILE', '--no-train'),
        *('--work-dir', 'RUN'),
    ),
    'others: a pipe': ('fuse', DEMO, 'FILE', 'OUT'),
    'others: safetensors beyond the file': ('publish_model', 'FILE', 'OUT'),
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    shapes.generate(root, num_train=4, num_val=2, size=64, progress=False)
    return root


@pytest.mark.long
@pytest.mark.parametrize('kind', COMMANDS)
def test_a_command_answers_a_hostile_file_with_a_sentence(kind, data, tmp_path):
    file, home = tmp_path / 'weights.pth', tmp_path / 'home'
    home.mkdir()
    HOSTILE[kind](file)
    # What the file could import is there to be imported.
    (home / f'{MODULE}.py').write_text(f'open({str(mark(file))!r}, "w")\n')
    words = {'FILE': file, 'DATA': data, 'OUT': tmp_path / 'out.pth', 'RUN': tmp_path / 'run'}
    arguments = [str(part) for part in COMMANDS[kind]]
    for word, value in words.items():
        arguments = [part.replace(word, str(value)) for part in arguments]
    own = str(Path(__file__).parents[2])
    path = os.pathsep.join([own, str(home), os.environ.get('PYTHONPATH', '')])
    answer = subprocess.run(
        [sys.executable, '-m', 'casvit', *arguments],
        cwd=home,
        env={**os.environ, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert answer.returncode == 2, answer.stderr
    assert 'Traceback' not in answer.stderr + answer.stdout
    (said,) = re.findall(rf'^casvit {arguments[0]}: error: (.*)$', answer.stderr, re.MULTILINE)
    assert str(file) in said and said.endswith('.')
    assert not mark(file).exists() and not list(tmp_path.glob('out*.pth'))
    # A run that has begun leaves its log, and nothing outside of its folder.
    assert {each.name for each in tmp_path.iterdir()} <= {'weights.pth', 'home', 'run'}
