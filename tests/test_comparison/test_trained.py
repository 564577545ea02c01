"""Short trainings of candidates: which runs there are, their configs, and what is made of them."""

import json
import os
import time
from dataclasses import asdict
from io import BytesIO
from threading import Barrier, Thread

import psutil
import pytest
from PIL import Image
from quick_runs import run_tool

from casvit.tables import COMPARED_TASKS, PEERS, TRAINED_PEERS
from casvit_mm.commands import compare_training
from casvit_mm.comparison.candidates import mixer_candidates, peer_candidates
from casvit_mm.comparison.trained import execute
from casvit_mm.comparison.trained.execute import FOLDER, PROCESS, Circumstances
from casvit_mm.comparison.trained.plan import (
    Run,
    TrainedSettings,
    best_rate,
    left_runs,
    steps_left,
)
from casvit_mm.comparison.trained.recipe import TASKS, run_config
from casvit_mm.report.comparison.trained_plots import trained_plots

STEPS = dict(detection=30, segmentation=60)
SETTINGS = TrainedSettings('xs', (0.1, 0.3, 1.0), (0, 1, 2), STEPS)
TASK, MODEL = 'detection', 'CASMixer'


def finished(value):
    return dict(failure=None, value=value)


def names(runs, models=(MODEL,), tried=()):
    left = left_runs([TASK], models, SETTINGS, runs, frozenset(tried))
    return [(run.final, run.rate, run.seed, run.steps) for run in left]


def search(*values):
    """Results of the search, in the order of the rates; None for those that failed."""
    return {
        Run(TASK, MODEL, rate, 0, 10, False).name: finished(value)
        if value is not None
        else dict(failure='it broke', value=None)
        for rate, value in zip(SETTINGS.rates, values, strict=False)
    }


def test_the_best_rate_is_searched_with_a_third_of_the_steps_and_then_used_for_all_seeds():
    assert names({}) == [(False, rate, 0, 10) for rate in (0.1, 0.3, 1.0)]
    assert names(search(1.0)) == [(False, rate, 0, 10) for rate in (0.3, 1.0)]
    finals = [(True, 0.3, seed, 30) for seed in (0, 1, 2)]
    assert names(search(1.0, 5.0, 2.0)) == finals
    done = Run(TASK, MODEL, 0.3, 1, 30, True).name
    assert names({**search(1.0, 5.0, 2.0), done: finished(4.0)}) == [finals[0], finals[2]]


def test_failed_runs_are_tried_again_by_the_next_call_only():
    runs = search(1.0, None, 2.0)
    assert best_rate(TASK, MODEL, SETTINGS, runs) == 1.0
    assert names(runs)[0] == (False, 0.3, 0, 10)
    tried = [Run(TASK, MODEL, 0.3, 0, 10, False).name]
    assert names(runs, tried=tried) == [(True, 1.0, seed, 30) for seed in (0, 1, 2)]
    assert names(search(None, None, None), tried=search(None, None, None)) == []


def test_of_equally_good_rates_the_smallest_is_taken():
    assert best_rate(TASK, MODEL, SETTINGS, search(2.0, 2.0, 2.0)) == 0.1
    one = TrainedSettings('xs', (0.3,), (0,), STEPS)
    assert best_rate(TASK, MODEL, one, {}) == 0.3


def test_the_estimate_counts_runs_whose_learning_rate_is_not_known_yet():
    whole = 3 * 10 + 3 * 30
    assert steps_left([TASK], [MODEL, 'PoolingMixer'], SETTINGS, {}) == {TASK: 2 * whole}
    assert steps_left([TASK], [MODEL], SETTINGS, search(1.0)) == {TASK: whole - 10}
    assert steps_left([TASK], [MODEL], SETTINGS, search(1.0, 5.0, 2.0)) == {TASK: 3 * 30}


@pytest.mark.parametrize('task', COMPARED_TASKS)
def test_configs_differ_in_the_backbone_and_its_channels_only(task):
    def config(candidate, seed=0, rate=1.0):
        return run_config(Run(task, candidate.key, rate, seed, 30, True), candidate, ['os'])

    ours, other = map(config, mixer_candidates('xs', ['CASMixer', 'PoolingMixer']))
    assert other.model.backbone.mixer.type == 'PoolingMixer'
    assert 'os' in ours.custom_imports.imports and len(ours.custom_imports.imports) == 3
    (candidate,) = mixer_candidates('xs', ['CASMixer'])
    third = config(candidate, seed=2, rate=0.5)
    assert third.randomness.seed == 2
    assert third.optim_wrapper.optimizer.lr == ours.optim_wrapper.optimizer.lr / 2
    ours.model.backbone = other.model.backbone
    assert ours.to_dict() == other.to_dict()
    # It is the batch that the learning rate is for.
    batch = TASKS[task].batch_size
    assert ours.train_dataloader.batch_size == ours.auto_scale_lr.base_batch_size == batch
    assert ours.train_cfg.max_iters == ours.train_cfg.val_interval == 30
    assert max(each['end'] for each in ours.param_scheduler) == 30
    sides = [
        step['scale']
        for split in ('train', 'val', 'test')
        for step in ours[f'{split}_dataloader'].dataset.pipeline
        if step['type'] == 'Resize'
    ]
    assert sides == [(TASKS[task].side,) * 2] * 3


def test_the_neck_has_the_channels_of_a_peer():
    pytest.importorskip('timm')
    (candidate,) = peer_candidates(['pvt_v2_b0'])
    cfg = run_config(Run('segmentation', candidate.key, 1.0, 0, 30, True), candidate)
    assert cfg.model.backbone.name == 'pvt_v2_b0' and cfg.model.backbone.norm_eval is False
    assert tuple(cfg.model.neck.in_channels) == PEERS['pvt_v2_b0'].channels
    assert set(TRAINED_PEERS) <= set(PEERS)


def test_test_images_have_half_to_twice_the_side_of_training_images():
    for task in TASKS.values():
        assert task.side in task.sides and task.side % 32 == 0
        assert (min(task.sides), max(task.sides)) == (task.side / 2, 2 * task.side)


COMMAND = (
    '--train --no-peers --mixers CASMixer PoolingMixer --tasks detection --steps 30 --threads 1 '
    '--device cpu'
)
BROKEN = 'detection_PoolingMixer_search_rate1_seed0'


@pytest.fixture
def trained(monkeypatch):
    """Names of the runs that were carried out; they take no time, and one of them fails."""
    done = []

    def carry_out(run, config, how, seconds):
        assert config.is_file() and config.parent.name == run.name
        done.append(run.name)
        value = {0.1: 10.0, 0.3: 30.0, 1.0: 20.0}[run.rate] + run.seed
        result = dict(asdict(run), seconds=61.0 + seconds, elapsed=70.0, step_seconds=0.5)
        result['jobs'] = how.jobs
        if run.name == BROKEN:
            return dict(result, failure='it broke', value=None, sides=[])
        sides = [[64, value / 2], [128, value], [192, value], [256, value / 3]]
        return dict(result, failure=None, value=value, sides=sides if run.final else [])

    monkeypatch.setattr(compare_training, 'carry_out', carry_out)
    return done


def test_all_runs_are_kept_and_only_failed_ones_are_done_again(trained, tmp_path, capsys):
    out = tmp_path / 'out'
    command = [*COMMAND.split(), '--out', str(out)]
    assert run_tool('compare', command) == 0
    said = capsys.readouterr()
    assert len(trained) == 12 and len(set(trained)) == 12
    assert 'detection, Pooling, rate 1, seed 0 (search): failed: it broke' in said.err
    assert 'CAS-ViT XS, rate 0.1, seed 0 (search): box AP 10.0, 61 s; about' in said.err
    assert said.err.count('the last one') == 1
    row = '| CAS-ViT XS | 0.3 x | 31.0 ± 1.0 | 30.0, 31.0, 32.0 | 15.5 | 31.0 | 10.3 | 500 |'
    assert row in said.out
    assert (out / 'trained_detection.png').is_file()

    del trained[:]
    assert run_tool('compare', [*command, '--minutes', '1']) == 0
    assert trained == []
    assert run_tool('compare', command) == 0
    assert trained == [BROKEN]
    record = json.loads((out / 'compare.json').read_text())
    assert record['trained']['runs'][BROKEN]['seconds'] == 122

    page = tmp_path / 'page.md'
    arguments = ['--page', str(page), '--records', str(out / 'compare.json')]
    assert run_tool('compare', arguments) == 0
    text = page.read_text()
    assert row in text and '](out/trained_detection.png)' in text
    assert '- Pooling, detection, rate 1, seed 0: it broke.' in text
    assert 'casvit compare --train --mixers CASMixer PoolingMixer --no-peers --size xs' in text
    assert 'rates of 0.1, 0.3, 1 times' in text and 'each of the seeds 0, 1, 2.' in text
    assert 'smallest one' not in text and 'GMACs' not in text
    assert 'They are of 3 seeds' in text.replace('\n  ', ' ')

    for option, message in (
        (['--rates', '0.1', '1'], 'was trained with rates [0.1, 0.3, 1.0]'),
        (['--steps', '40'], 'was trained with detection 30, and this would be 40'),
        (['--threads', '2'], 'was trained with threads 1'),
    ):
        capsys.readouterr()
        assert run_tool('compare', [*command, *option]) == 2
        assert message in capsys.readouterr().err


def test_the_time_of_a_step_may_be_unknown_and_the_tables_say_so(trained, tmp_path, monkeypatch):
    full = compare_training.carry_out

    def carry_out(run, config, how, seconds):
        short = run.model == 'PoolingMixer' or run.seed == 1
        return full(run, config, how, seconds) | (dict(step_seconds=None) if short else {})

    monkeypatch.setattr(compare_training, 'carry_out', carry_out)
    out = tmp_path / 'out'
    assert run_tool('compare', [*COMMAND.split(), '--out', str(out)]) == 0
    page = tmp_path / 'page.md'
    arguments = ['--page', str(page), '--records', str(out / 'compare.json')]
    assert run_tool('compare', arguments) == 0
    rows = [line for line in page.read_text().splitlines() if ' 31.0 ± 1.0 ' in line]
    assert [row.split(' | ')[-1] for row in rows] == ['500 |', '- |']


def test_runs_are_carried_out_side_by_side(trained, tmp_path, monkeypatch, capsys):
    one = compare_training.carry_out
    # Nobody passes before three have come.
    together = Barrier(3, timeout=60)

    def carry_out(run, config, how, seconds):
        together.wait()
        return one(run, config, how, seconds)

    monkeypatch.setattr(compare_training, 'carry_out', carry_out)
    command = COMMAND.replace('CASMixer ', '').replace('30', '33')
    assert run_tool('compare', [*command.split(), '--jobs', '3', '--out', str(tmp_path)]) == 0
    assert len(trained) == 6
    said = capsys.readouterr()
    assert 'ms a step, 3 side by side' in said.out
    # Three searches of 70 s, and three runs of three times as many steps: 3.5 to 4.3 minutes.
    assert '(search): failed: it broke, 61 s; about 4 min left' in said.err
    page = tmp_path / 'page.md'
    record = str(tmp_path / 'compare.json')
    assert run_tool('compare', ['--page', str(page), '--records', record]) == 0
    assert '--device cpu --jobs 3 --out FOLDER' in page.read_text()


def test_processes_of_all_runs_end_when_the_command_is_stopped(tmp_path, monkeypatch):
    how = Circumstances(tmp_path, [], 60.0, 1, 'cpu', 2)
    config = tmp_path / 'config.py'
    endless = ['http.server', '0', '--bind', '127.0.0.1']
    monkeypatch.setattr(execute, '_train', lambda *_: execute._call(endless, tmp_path, how, None))
    run = Run(TASK, MODEL, 1.0, 0, 30, True)
    results = []
    thread = Thread(target=lambda: results.append(execute.carry_out(run, config, how)))
    thread.start()
    while not (tmp_path / PROCESS).exists():
        time.sleep(0.05)
    process = psutil.Process(json.loads((tmp_path / PROCESS).read_text())['pid'])
    how.stopped.set()
    thread.join(60)
    assert results[0]['failure'] == 'it was stopped'
    assert not process.is_running()


@pytest.mark.parametrize(
    ('device', 'listed', 'seen'),
    [
        ('cpu', '0,1', ''),
        ('cuda', '2,3', '2,3'),
        ('cuda:0', None, '0'),
        ('cuda:1', None, '1'),
        ('cuda:1', '2,3', '3'),
        ('cuda:0', 'GPU-8f', 'GPU-8f'),
    ],
)
def test_a_run_sees_the_chosen_device_only(device, listed, seen, monkeypatch):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if listed is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', listed)
    found = {**os.environ, **execute._visible(device)}
    assert found['CUDA_VISIBLE_DEVICES'] == seen


def test_a_rate_at_the_edge_of_those_tried_is_named(trained, tmp_path):
    out = tmp_path / 'out'
    command = [*COMMAND.split(), '--rates', '0.1', '1', '--seeds', '1', '--out', str(out)]
    assert run_tool('compare', command) == 0
    page = tmp_path / 'page.md'
    record = str(out / 'compare.json')
    assert run_tool('compare', ['--page', str(page), '--records', record]) == 0
    text = page.read_text().replace('\n', ' ')
    assert 'was the largest one for CAS-ViT XS, Pooling (detection): a rate outside' in text


def test_latency_is_plotted_if_it_was_measured_too(trained, tmp_path):
    assert run_tool('compare', [*COMMAND.split(), '--out', str(tmp_path)]) == 0
    record = json.loads((tmp_path / 'compare.json').read_text())
    narrow = Image.open(BytesIO(trained_plots(record)['trained_detection']))
    spread = dict(median=0.02)
    case = dict(seconds=spread, ratio=spread, mode='inference', batch_size=1, mixer='CASMixer')
    record['models']['CASMixer'] = dict(
        label='CAS-ViT XS',
        kind='mixer',
        published=dict(box_ap=None, source=''),
        speed=dict(yardstick=0, cases=[dict(case, variant='eager')]),
    )
    wide = Image.open(BytesIO(trained_plots(record)['trained_detection']))
    assert wide.width > 1.5 * narrow.width and wide.height == narrow.height


def test_a_run_whose_process_is_alive_is_left_alone(tmp_path, capsys):
    run = tmp_path / FOLDER / 'detection_CASMixer_search_rate0.1_seed0'
    run.mkdir(parents=True)
    created = psutil.Process().create_time()
    (run / PROCESS).write_text(json.dumps(dict(pid=os.getpid(), created=created)))
    assert run_tool('compare', [*COMMAND.split(), '--out', str(tmp_path)]) == 2
    assert f'Process {os.getpid()} is working on {run}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ('--steps 30 40', '--steps has 2 numbers for 1 task'),
        ('--rates 1 1', '--rates names a value twice'),
        ('--seeds 1 -1', '--seeds takes whole numbers from 0'),
        ('--mixers NobodysMixer', 'no token mixer NobodysMixer'),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(options, said, tmp_path, capsys):
    command = [*COMMAND.split(), *options.split(), '--out', str(tmp_path / 'out')]
    assert run_tool('compare', command) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
