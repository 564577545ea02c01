"""The page on one's own data, command by command, on pictures of its kind."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from quick_runs import run_tool

from casvit_mm.datasets import shapes
from casvit_mm.models import read_checkpoint

pytest.importorskip('mmdet')
PAGE = Path(__file__).parents[2] / 'docs/own_data.md'
SMALL = ['--image-size', '96', '--epochs', '2', '--batch-size', '4']


def commands():
    (block,) = re.findall(r'```bash\n(.*?)```', PAGE.read_text(), re.S)
    return [shlex.split(line.removeprefix('casvit ')) for line in block.splitlines()]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    generated = tmp_path_factory.mktemp('generated')
    shapes.generate(generated, num_train=12, num_val=4, size=96, progress=False)
    root = generated.with_name('data')
    for name in ('annotations', 'train', 'val'):
        shutil.copytree(generated / name, root / name)
    return root


def test_every_command_of_the_page_works(data, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert len(commands()) <= 5
    run = tmp_path / 'run'
    # Weights to start from: what a run of one step leaves, of the same model.
    start = [data, '--task', 'instance', '--size', 'xs', *SMALL, '--work-dir', tmp_path / 'start']
    assert run_tool('finetune', [*start, '--no-train']) == 0
    options = ['--cfg-options', 'max_epochs=1', 'train_cfg.max_epochs=1', 'train_cfg.val_begin=9']
    assert run_tool('train', [tmp_path / 'start/config.py', *options]) == 0
    values = {
        **dict(
            DATA=data, REPAIRED=tmp_path / 'repaired', RUN=run, s='xs', FOUND=tmp_path / 'found'
        ),
        **dict(FILE=tmp_path / 'start/epoch_1.pth', PHOTOS=data / 'val'),
    }
    for name, *arguments in commands():
        if name == 'image_demo':
            best = sorted(run.glob('best_*.pth')) or [run / 'epoch_2.pth']
            values.update({'CHECKPOINT': best[-1], 'RUN/config.py': run / 'config.py'})
        given = [str(values.get(argument, argument)) for argument in arguments]
        assert run_tool(name, given + (SMALL if name == 'finetune' else [])) == 0, given
    said = capfd.readouterr().out
    assert f'config: {run / "config.py"}' in said and 'best checkpoint: ' in said
    assert 'The checkpoint knows' not in said, 'these are the same classes'
    assert len(list((run / 'pictures').glob('*.jpg'))) == 4
    assert len(list((tmp_path / 'found').glob('*.jpg'))) == 4
    classes = read_checkpoint(run / 'epoch_2.pth')['meta']['dataset_meta']['classes']
    assert tuple(classes) == shapes.CLASSES
