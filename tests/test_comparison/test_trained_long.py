"""Trains candidates as users would, kills the command in the middle, and goes on."""

import json
import subprocess
import sys
import time

import psutil
import pytest
from long_runs import report

from casvit.tables import COMPARED_TASKS
from casvit_mm.comparison.trained.execute import FOLDER, PROCESS
from casvit_mm.comparison.trained.recipe import TASKS
from casvit_mm.engine.checkpoints import traces_of_run

pytestmark = pytest.mark.long
COMMAND = (
    'compare --train --no-peers --mixers CASMixer PoolingMixer --steps 40 12 --rates 0.3 '
    '--seeds 0 --threads 1 --device cpu --out out'
)
KILLED = 'detection_PoolingMixer_final_rate0.3_seed0'


def test_a_killed_comparison_goes_on_where_it_stopped(tmp_path, capsys):
    command = [sys.executable, '-m', 'casvit', *COMMAND.split()]
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        run = tmp_path / 'out' / FOLDER / KILLED
        while not traces_of_run(run):
            assert process.poll() is None and time.perf_counter() - begun < 600
            time.sleep(0.1)
        child = psutil.Process(json.loads((run / PROCESS).read_text())['pid'])
        process.kill()
        child.suspend()
    # Nobody stops the training of a command that was killed.
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2 and f'Process {child.pid} is working on' in refused.stderr
    child.kill()
    psutil.wait_procs([child], timeout=60)

    record = json.loads((tmp_path / 'out' / 'compare.json').read_text())
    (first,) = record['trained']['runs']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'{COMPARED_TASKS[0]}, CAS-ViT XS' not in done.stderr
    logs = [file.read_text() for file in run.glob('*/*.log')]
    assert len(logs) == 2 and any('resumed' in log for log in logs)
    trained = json.loads((tmp_path / 'out' / 'compare.json').read_text())['trained']
    assert trained['runs'][first] == record['trained']['runs'][first]
    assert len(trained['runs']) == 2 * 2
    assert all(each['failure'] is None for each in trained['runs'].values())
    assert trained['summary']['unfinished'] == []
    for task in COMPARED_TASKS:
        scores = trained['summary']['scores'][task]
        assert {each['label'] for each in scores} == {'CAS-ViT XS', 'Pooling'}
        assert all([side for side, _ in each['sides']] == TASKS[task].sides for each in scores)
        assert (tmp_path / 'out' / f'trained_{task}.png').is_file()
    report(capsys, done.stdout)
