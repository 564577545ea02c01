"""Results of finished runs, read from their folders."""

import json

import pytest

from casvit.cli.main import run_tool


@pytest.fixture
def finished(tmp_path):
    """Writes the files that a run leaves behind."""

    def write(name, config, lines):
        folder = tmp_path / name / '20260101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'config.py').write_text(config)
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
        return tmp_path / name

    return write


def validation(box):
    return {'coco/bbox_mAP': box, 'coco/segm_mAP': box - 0.05, 'step': 1}


def test_the_last_validation_counts_and_speed_options_are_shown(finished, tmp_path, capsys):
    plain = finished(
        'plain', 'randomness = dict(seed=3)', [{'loss': 1.0}, validation(0.2), validation(0.5)]
    )
    fast = finished(
        'fast', "randomness = dict(seed=3)\nspeed = dict(precision='bf16')", [validation(0.51)]
    )
    out = tmp_path / 'record.json'
    assert run_tool('bench', ['--runs', str(plain), str(fast), '--out', str(out)]) == 0
    shown = capsys.readouterr().out
    assert '| none | 3 | 0.500 (0.500) | 0.450 (0.450) |' in shown
    assert '| precision="bf16" | 3 | 0.510 (0.510) | 0.460 (0.460) |' in shown
    assert [run['run'] for run in json.loads(out.read_text())['runs']] == ['plain', 'fast']


def test_a_folder_without_a_finished_run_is_named(finished, tmp_path, capsys):
    assert run_tool('bench', ['--runs', str(tmp_path / 'nothing')]) == 2
    assert 'nothing is not the folder of a training run' in capsys.readouterr().err
    begun = finished('begun', 'randomness = dict(seed=0)', [{'loss': 1.0}])
    assert run_tool('bench', ['--runs', str(begun)]) == 2
    assert 'begun has no validation' in capsys.readouterr().err
