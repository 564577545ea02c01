"""Runs the commands of docs/own_data.md one after the other on a small dataset."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from quick_runs import run_tool

from casvit.predictor import Predictor
from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.models import read_checkpoint

pytest.importorskip('mmdet')
PAGE = Path(__file__).parents[2] / 'docs/own_data.md'
SMALL = ['--image-size', '96', '--epochs', '1', '--batch-size', '4']
SMALL += ['--config', 'mask_rcnn_casvit-xs_demo_shapes']


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
    # A checkpoint to start from, with the same model and classes.
    start = [data, '--task', 'instance', *SMALL, '--work-dir', tmp_path / 'start']
    assert run_tool('finetune', [*start, '--no-train']) == 0
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(tmp_path / 'start/config.py').model)
    meta = dict(dataset_meta=dict(classes=shapes.CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'start.pth')
    values = {
        **dict(
            DATA=data, REPAIRED=tmp_path / 'repaired', RUN=run, s='xs', FOUND=tmp_path / 'found'
        ),
        **dict(FILE=tmp_path / 'start.pth', PHOTOS=data / 'val'),
    }
    for name, *arguments in commands():
        if name == 'image_demo':
            values.update(
                {name: Path(run, name[4:]) for name in ('RUN/config.py', 'RUN/model.pth')}
            )
        given = [str(values.get(argument, argument)) for argument in arguments]
        assert run_tool(name, given + (SMALL if name == 'finetune' else [])) == 0, given
    said = capfd.readouterr().out
    assert f'config: {run / "config.py"}' in said and 'checkpoint: ' in said
    assert 'The checkpoint knows' not in said, 'these are the same classes'
    assert len(list((run / 'predictions').glob('*.jpg'))) == 4
    assert len(list((tmp_path / 'found').glob('*.jpg'))) == 4
    assert (run / 'config.py').read_text().startswith('# Fine-tuning on ')
    classes = read_checkpoint(run / 'epoch_1.pth')['meta']['dataset_meta']['classes']
    assert tuple(classes) == shapes.CLASSES
    content = torch.load(run / 'model.pth', weights_only=True)
    assert set(content) == {'meta', 'state_dict'}
    predictor = Predictor(run / 'model.pth', device='cpu')
    assert predictor.classes == shapes.CLASSES and predictor.task == 'instance'
