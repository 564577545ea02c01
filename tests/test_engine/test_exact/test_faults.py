"""Runs in processes of their own are told to end, and killed, at all kinds of moments."""

import random
import signal
import time

import pytest
import torch
from exact_runs import end_of
from faults import Run


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """Where runs end that are left alone, by their options."""
    ends = {}

    def of(**options):
        key = tuple(sorted(options.items()))
        if key not in ends:
            folder = tmp_path_factory.mktemp('whole')
            run = Run(folder, pace=0, **options)
            assert run.ended() == 0, run.said
            ends[key] = end_of(folder)
        return ends[key]

    return of


def assert_same_end(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        same = torch.equal(value, right[key]) if torch.is_tensor(value) else value == right[key]
        assert same, key


OPTIONS = dict(iterations=10, accumulated=3)


@pytest.mark.parametrize(
    ('number', 'code', 'said'),
    [(signal.SIGTERM, 143, 'was told to end'), (signal.SIGINT, 130, 'was told to end')],
)
def test_a_run_that_is_told_to_end_saves_its_last_step_and_goes_on_from_there(
    number, code, said, tmp_path, uninterrupted
):
    run = Run(tmp_path, **OPTIONS)
    run.wait_for('step 6')
    run.send(number)
    assert run.ended(30) == code, run.said
    text = run.said
    assert said in text and 'recent.pth' in text and '--resume' in text
    last = max(int(line.split()[1]) for line in text.splitlines() if line.startswith('step '))
    resumed = Run(tmp_path, resume=True, **OPTIONS)
    assert resumed.ended() == 0, resumed.said
    steps = [int(line.split()[1]) for line in text.splitlines() if line.startswith('step ')]
    after = resumed.said[len(text) :].splitlines()
    assert next(line for line in after if line.startswith('step ')) == f'step {last + 1}'
    assert steps == list(range(1, last + 1))
    assert_same_end(uninterrupted(**OPTIONS), end_of(tmp_path))


def test_in_a_validation_and_at_the_second_signal_a_run_ends_at_once(tmp_path, uninterrupted):
    validated = Run(tmp_path / 'validated', pace=0.5, **OPTIONS)
    validated.wait_for('validating 4')
    validated.send(signal.SIGTERM)
    assert validated.ended(10) == 143
    assert 'validating 8' not in validated.said
    twice = Run(tmp_path / 'twice', pace=20, **OPTIONS)
    twice.wait_for('step 1')
    begun = time.monotonic()
    twice.send(signal.SIGTERM)
    time.sleep(0.3)
    assert twice.poll() is None
    twice.send(signal.SIGTERM)
    assert twice.ended(15) == 143 and time.monotonic() - begun < 15
    resumed = Run(tmp_path / 'validated', resume=True, **OPTIONS)
    assert resumed.ended() == 0, resumed.said
    assert_same_end(uninterrupted(**OPTIONS), end_of(tmp_path / 'validated'))


def kill_and_resume(work_dir, rng, kind, **options):
    """Kills a run at a random moment, resumes it to the end; gives the steps computed twice."""
    if kind == 'while it saves':
        run = Run(work_dir, slow=0.2, **options)
        run.wait_for_saves(rng.randint(1, 6))
        time.sleep(rng.uniform(0, 0.2))
    else:
        run = Run(work_dir, **options)
        run.wait_for('validating' if kind == 'in a validation' else f'step {rng.randint(1, 9)}')
        time.sleep(rng.uniform(0, 0.06))
    number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    run.send(number)
    run.ended(40)
    before = run.said
    resumed = Run(work_dir, resume=True, **options)
    assert resumed.ended() == 0, resumed.said
    steps = [line for line in resumed.said.splitlines() if line.startswith('step ')]
    lines = before.splitlines()
    return len(steps) - len(set(steps)), number, lines.count('saving') - lines.count('saved')


KINDS = ['while it saves', 'in a step', 'in a validation']


@pytest.mark.parametrize('kind', KINDS)
def test_a_killed_run_ends_like_one_that_was_left_alone(kind, tmp_path, uninterrupted):
    kill_and_resume(tmp_path, random.Random(kind), kind, **OPTIONS)
    assert_same_end(uninterrupted(**OPTIONS), end_of(tmp_path))


@pytest.mark.long
def test_thirty_kills_at_random_moments_lose_nothing(tmp_path, uninterrupted, capsys):
    rng = random.Random(0)
    runs = [OPTIONS, dict(iterations=9), dict(accumulated=1), dict(accumulated=3)]
    again, hit, signals = 0, 0, []
    for number in range(30):
        options = runs[number % len(runs)]
        folder = tmp_path / str(number)
        twice, sent, cut = kill_and_resume(folder, rng, KINDS[number % 3], **options)
        assert_same_end(uninterrupted(**options), end_of(folder))
        again, hit = again + twice, hit + cut
        signals.append(signal.Signals(sent).name)
    with capsys.disabled():
        counts = ', '.join(f'{signals.count(name)} {name}' for name in sorted(set(signals)))
        print(
            f'\n30 kills ({counts}), {hit} of them inside a checkpoint write: 30 survived, all '
            f'bit-identical; {again} steps computed twice'
        )
