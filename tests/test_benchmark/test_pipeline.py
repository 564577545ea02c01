"""The time to load training data, transform by transform."""

import json

import pytest
from mmengine.config import Config

from casvit.cli.main import run_tool
from casvit_mm.datasets.shapes import objects as shapes

CONFIG = 'mask_rcnn_casvit-xs_demo_shapes'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    shapes.generate(folder, num_train=12, num_val=4, seed=1, progress=False)
    return folder


def test_every_transform_of_the_training_pipeline_is_timed(root, configs, tmp_path, capsys):
    out, page = tmp_path / 'here.json', tmp_path / 'speed.md'
    arguments = ['--pipelines', CONFIG, '--data-root', str(root), '--samples', '5']
    assert run_tool('bench', [*arguments, '--out', str(out)]) == 0
    (found,) = json.loads(out.read_text())['pipelines']
    assert found['samples'] == 5
    dataset = Config.fromfile(configs / 'detection' / f'{CONFIG}.py').train_dataloader.dataset
    assert [step['name'] for step in found['steps']] == [each.type for each in dataset.pipeline]
    assert all(step['seconds'] > 0 for step in found['steps'])
    row = f'| {CONFIG} | 5 |'
    assert row in capsys.readouterr().out

    assert run_tool('bench', ['--page', str(page), '--records', str(out)]) == 0
    tables = (tmp_path / 'speed_tables.md').read_text()
    assert '### Data loading' in tables and row in tables


def test_all_images_of_a_smaller_dataset_are_used(root, tmp_path):
    out = tmp_path / 'here.json'
    arguments = ['--pipelines', CONFIG, '--data-root', str(root), '--out', str(out)]
    assert run_tool('bench', arguments) == 0
    assert json.loads(out.read_text())['pipelines'][0]['samples'] <= 12


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--pipelines', CONFIG, '--data-root', 'nowhere'], 'nowhere'),
        (['--data-root', 'somewhere'], '--pipelines'),
        (['--pipelines', 'no_such_config'], 'no_such_config'),
    ],
    ids=str,
)
def test_missing_data_is_reported_in_a_sentence(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_tool('bench', arguments) == 2
    stderr = capsys.readouterr().err
    assert said in stderr and 'Traceback' not in stderr
