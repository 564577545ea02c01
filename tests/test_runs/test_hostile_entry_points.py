"""Hostile files at everything that takes weights: commands, configs, and OpenMMLab's own tools.

Each is tried in a process of its own, forked from one that has imported everything: nothing in the
file runs, and the answer is a sentence.
"""

import contextlib
import io
import os
import signal
import sys
from typing import NamedTuple

import pytest
import torch
from hostile import HOSTILE, MODULE, mark
from quick_runs import DEMO, QUICK, run_tool

from casvit.errors import CheckpointError
from casvit.tables import PUBLISHED_WEIGHTS
from casvit_mm.datasets.shapes import objects as shapes

mmdet = pytest.importorskip('mmdet.apis')
mmseg = pytest.importorskip('mmseg.apis')

KINDS = [
    'code: calls os.system',
    'code: calls os.system in a legacy file',
    'code: BUILD on the bases of a scheduler',
    'archives: TorchScript code',
    'archives: compressed 64 MB',
    'tensors: objects over bytes',
    'tensors: stride of zero with 10**12 elements',
    'bombs: lists that double 60 times',
    'streams: a plain pickle that calls',
    'streams: tar with a pipe',
    'others: a web page',
    'others: a pipe',
    'others: safetensors beyond the file',
]
QUICK_KINDS = KINDS[:1] + KINDS[3:4]
"""Code in a pickle, and code in an archive that torch hands to another loader."""
SECONDS = 120
HARM = ('os.system', 'os.exec', 'os.posix_spawn', 'subprocess.', 'socket.connect')
"""Starts of the events that Python reports if a file reaches beyond the process."""
USUAL = ('gcc', 'git', 'nvcc')
"""mmengine asks these for their versions at the start of a run."""


def train(file, data, *options):
    """Arguments of a training run whose config names the file."""
    where = ['--data-root', data, '--work-dir', file.parent / 'run']
    return run_tool('train', [DEMO, *where, *QUICK, *options])


def pretrained(place):
    return lambda file, data: train(
        file, data, f'{place}.init_cfg.type=Pretrained', f'{place}.init_cfg.checkpoint={file}'
    )


def command(name, *arguments):
    """A command, with FILE for the file, DATA for the dataset and OUT for a new file."""

    def run(file, data):
        words = dict(FILE=file, DATA=data, IMAGES=data / 'val', RUN=file.parent / 'run')
        words['OUT'] = file.parent / 'out.pth'
        return run_tool(name, [words.get(word, word) for word in arguments])

    return run


def check_downloaded(file, data):
    from casvit_mm.models.checkpoint.identify import check_published

    return check_published(file, PUBLISHED_WEIGHTS['cas-vit-xs'])


def predictor(file, data):
    from casvit import Predictor

    return Predictor(file, device='cpu')


def predictor_with_config(file, data):
    from casvit import Predictor

    return Predictor(file, config=DEMO, device='cpu')


def init_detector(file, data):
    from casvit import config_path

    return mmdet.init_detector(config_path(DEMO), str(file), device='cpu')


ENTRIES = {
    'train --resume': lambda file, data: run_tool(
        'train',
        [DEMO, '--data-root', data, '--work-dir', file.parent / 'run', '--resume', file, *QUICK],
    ),
    'load_from': lambda file, data: train(file, data, f'load_from={file}'),
    'init_cfg of the backbone': pretrained('model.backbone'),
    'init_cfg of the neck': pretrained('model.neck'),
    'init_cfg of the model': pretrained('model'),
    'test': command('test', DEMO, 'FILE', '--data-root', 'DATA', '--work-dir', 'RUN', *QUICK),
    'image_demo': command('image_demo', 'IMAGES', DEMO, 'FILE', '--device', 'cpu'),
    'finetune': command(
        *('finetune', 'DATA', '--task', 'instance', '--checkpoint', 'FILE', '--no-train'),
        *('--work-dir', 'RUN'),
    ),
    'fuse': command('fuse', DEMO, 'FILE', 'OUT'),
    'publish_model': command('publish_model', 'FILE', 'OUT'),
    'weights': check_downloaded,
    'Predictor': predictor,
    'Predictor with a config': predictor_with_config,
    'init_detector': init_detector,
    'DetInferencer': lambda file, data: mmdet.DetInferencer(None, str(file), device='cpu'),
    'MMSegInferencer': lambda file, data: mmseg.MMSegInferencer(None, str(file), device='cpu'),
}


def get_flops(file, data):
    """Counts the parameters of a config that names the file at three places."""
    from casvit import config_path

    place = f"init_cfg=dict(type='Pretrained', checkpoint={str(file)!r})"
    config = file.with_name('config.py')
    config.write_text(
        f'_base_ = {str(config_path(DEMO))!r}\n'
        f'model = dict(backbone=dict({place}), neck=dict({place}), {place})\n'
        f'load_from = {str(file)!r}\n'
    )
    return run_tool('get_flops', [config])


WITHOUT_WEIGHTS = {'get_flops': get_flops}
"""What takes a config that names the file, and has no use for weights."""


class Answer(NamedTuple):
    """What became of a file: exit code of the child, what it said, and what it did."""

    code: int
    said: str
    done: list


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    shapes.generate(root, num_train=4, num_val=2, size=64, progress=False)
    return root


@pytest.fixture(scope='module', autouse=True)
def _prepared(tmp_path_factory):
    """What the children need: everything imported, and a module that must not be."""
    import casvit_mm.safe_loading  # noqa: F401
    from casvit_mm.models.optional import import_toolbox

    for scope in ('mmdet', 'mmseg'):
        import_toolbox(scope)
    root = tmp_path_factory.mktemp('module')
    (root / f'{MODULE}.py').write_text(f'open({str(root / "imported")!r}, "w")\n')
    sys.path.insert(0, str(root))
    threads = torch.get_num_threads()
    # Threads of torch do not survive a fork.
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    sys.path.remove(str(root))
    assert not (root / 'imported').exists()


def tried(entry, file, data):
    """Tries a file in a child process."""
    log = file.with_name('said.txt')
    harm = file.with_name('harm.txt')
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        said, code = io.StringIO(), 70

        def look(event, arguments):
            if event.startswith(HARM) and not any(name in str(arguments) for name in USUAL):
                with harm.open('a') as out:
                    out.write(f'{event} {arguments!r:.200}\n')

        sys.addaudithook(look)
        os.chdir(file.parent)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                result = (ENTRIES | WITHOUT_WEIGHTS)[entry](file, data)
            code = result if isinstance(result, int) else 0
        except CheckpointError as error:
            said, code = io.StringIO(str(error)), 2
        except BaseException as error:
            said = io.StringIO(f'{said.getvalue()}\n{type(error).__name__}: {error}')
        finally:
            log.write_text(said.getvalue())
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    done = harm.read_text().splitlines() if harm.exists() else []
    return Answer(code, log.read_text() if log.exists() else '', done)


def check(entry, kind, data, folder):
    """Tries a kind of file, whose answer has to be a sentence that names it."""
    file = folder / 'weights.pth'
    HOSTILE[kind](file)
    answer = tried(entry, file, data)
    assert answer.code == 2, answer
    assert not mark(file).exists() and not answer.done, answer
    assert 'weights.pth' in answer.said and 'Traceback' not in answer.said, answer
    assert not list(folder.glob('out*.pth'))


@pytest.mark.parametrize('entry', ENTRIES)
def test_code_in_a_file_never_runs(entry, data, tmp_path):
    for number, kind in enumerate(QUICK_KINDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        check(entry, kind, data, folder)


@pytest.mark.parametrize('entry', WITHOUT_WEIGHTS)
@pytest.mark.parametrize('kind', [*QUICK_KINDS, 'others: a pipe'])
def test_what_needs_no_weights_opens_no_file_of_weights(kind, entry, data, tmp_path):
    file = tmp_path / 'weights.pth'
    HOSTILE[kind](file)
    answer = tried(entry, file, data)
    assert (answer.code, answer.done) == (0, []), answer
    assert not mark(file).exists() and 'Traceback' not in answer.said


@pytest.mark.long
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('entry', ENTRIES)
def test_every_kind_of_hostile_file_is_a_sentence_everywhere(entry, kind, data, tmp_path):
    check(entry, kind, data, tmp_path)
