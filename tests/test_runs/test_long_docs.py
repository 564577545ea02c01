"""Runs the commands of README and docs as they stand there: ``make long``.

Words in capitals are replaced by small data and checkpoints, and training is cut to an epoch.
"""

import subprocess
import sys

import pytest
from documented import REPOSITORY, commands
from long_runs import tool
from quick_runs import DEMO, QUICK, SEGMENTATION_DEMO

from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.datasets.shapes import single

pytest.importorskip('mmdet')
pytestmark = pytest.mark.long
# docs/own_data.md has a test of its own, which runs its commands one after the other.
RUN = [each for each in commands() if each.tool and not each.needs and each.page != 'own_data.md']
SHORT = ['--image-size', '96', '--epochs', '1', '--batch-size', '4']
WORKERS = [option for option in QUICK[1:] if not option.startswith('train_cfg')]


@pytest.fixture(scope='module')
def words(trained_demo, tmp_path_factory):
    """What the words in capitals stand for."""
    folder = tmp_path_factory.mktemp('documented')
    shapes.generate(folder / 'data', num_train=12, num_val=4, size=96, progress=False)
    single.generate(folder / 'classes', num_train=24, num_val=12, progress=False)
    options = ['--data-root', folder / 'data', '--work-dir', folder / 'segmentor', '--cfg-options']
    tool('train', SEGMENTATION_DEMO, *options, *WORKERS, 'train_cfg.max_iters=2')
    return {
        **dict(DATA=folder / 'data', CLASSES=folder / 'classes', INPUT=folder / 'data/val'),
        **dict(CONFIG=DEMO, CHECKPOINT=trained_demo.last, FILE=trained_demo.last),
        **dict(SEGMENTATION_CONFIG=SEGMENTATION_DEMO, SEGMENTOR=folder / 'segmentor/iter_2.pth'),
    }


def shortened(command, words):
    """The command with its words replaced, and options that make it short."""
    given = [str(words.get(word, word)) for word in command.arguments]
    if command.tool == 'check_dataset' and 'classification' in given:
        given[0] = str(words['CLASSES'])
    if command.tool == 'finetune':
        given += SHORT
    if command.tool == 'bench' and '--page' not in given:
        given += ['--turns', '1', '--seconds', '0.1']
    if command.tool == 'test':
        data = words['DATA']
        given += ['--data-root', str(data)]
    if command.tool == 'train':
        classes = command.arguments[0].startswith('casvit')
        given += ['--data-root', str(words['CLASSES' if classes else 'DATA'])]
        semantic = command.arguments[0].startswith('semantic')
        length = 'train_cfg.max_iters=2' if semantic else 'train_cfg.max_epochs=1'
        options = [*WORKERS, length]
        if '--cfg-options' in given:
            checkpoint = next(word for word in given if 'init_cfg.checkpoint=' in word)
            given[given.index(checkpoint)] = checkpoint.replace('epoch_5', 'epoch_1')
            at = given.index('--cfg-options') + 1
            given[at:at] = options
        else:
            given += ['--cfg-options', *options]
    return given


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    """A folder in which all commands run, with the records of the benchmarks."""
    folder = tmp_path_factory.mktemp('workplace')
    (folder / 'benchmarks').symlink_to(REPOSITORY / 'benchmarks')
    (folder / 'docs').mkdir()
    return folder


@pytest.mark.parametrize('command', RUN, ids=str)
def test_a_documented_command_runs(command, words, workplace):
    script = REPOSITORY / 'tools' / f'{command.tool}.py'
    given = [sys.executable, str(script), *shortened(command, words)]
    done = subprocess.run(given, cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 0, f'{given}\n{done.stderr[-3000:]}'
