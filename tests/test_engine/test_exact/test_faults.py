"""Runs in processes of their own are told to end, and killed, at all kinds of moments."""

import random
import signal
import time
from collections import Counter

import pytest
import torch
from exact_runs import end_of
from faults import AFTER_THE_KILL, WHILE_IT_TRAINS, Run


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


def kill_and_resume(work_dir, rng, kind, fault='', **options):
    """Kills a run at a random moment, damages what it left, and resumes it to the end.

    Returns:
        What ended it: a signal, whether that hit a checkpoint that was being written; and how many
        steps were computed twice.
    """
    # At the kill, there are two checkpoints to choose from, or a disk has been full for a while.
    first = 6 if fault else 1
    during = dict(fault=fault, since=rng.randint(2, 3)) if fault in WHILE_IT_TRAINS else {}
    if kind == 'while it saves':
        run = Run(work_dir, slow=0.2, **during, **options)
        run.wait_for_saves(rng.randint(first, first + 3))
        time.sleep(rng.uniform(0, 0.2))
    else:
        run = Run(work_dir, **during, **options)
        step = f'step {rng.randint(first, 9)}'
        validation = 'validating 8' if fault else 'validating'
        run.wait_for(validation if kind == 'in a validation' else step)
        time.sleep(rng.uniform(0, 0.06))
    number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    ended = 'the end' if run.poll() is not None else signal.Signals(number).name
    run.send(number)
    run.ended(40)
    before = run.said
    places = [line for line in before.splitlines() if line.startswith(PLACES)]
    if fault in AFTER_THE_KILL:
        AFTER_THE_KILL[fault](work_dir, rng)
    elif fault:
        assert fault in before and 'cannot be written' in before
    resumed = Run(work_dir, resume=True, **options)
    assert resumed.ended() == 0, resumed.said
    steps = [line for line in resumed.said.splitlines() if line.startswith('step ')]
    return ended, places[-1] == 'saving', len(steps) - len(set(steps))


KINDS = ['while it saves', 'in a step', 'in a validation']
PLACES = ('step', 'saving', 'saved', 'validating')


@pytest.mark.parametrize('kind', KINDS)
def test_a_killed_run_ends_like_one_that_was_left_alone(kind, tmp_path, uninterrupted):
    kill_and_resume(tmp_path, random.Random(kind), kind, **OPTIONS)
    assert_same_end(uninterrupted(**OPTIONS), end_of(tmp_path))


@pytest.mark.long
def test_thirty_kills_and_damage_between_them_and_resuming_lose_nothing(
    tmp_path, uninterrupted, capsys
):
    rng = random.Random(0)
    runs = [OPTIONS, dict(iterations=9), dict(accumulated=1), dict(accumulated=3)]
    faults = [*AFTER_THE_KILL, *WHILE_IT_TRAINS] * 4 + ['', '']
    rng.shuffle(faults)
    again, hit, ends = 0, 0, Counter()
    for number, fault in enumerate(faults):
        options = runs[number % len(runs)]
        folder = tmp_path / str(number)
        ended, cut, twice = kill_and_resume(folder, rng, KINDS[number % 3], fault, **options)
        assert_same_end(uninterrupted(**options), end_of(folder))
        again, hit = again + twice, hit + cut
        ends[ended] += 1
    with capsys.disabled():
        sent = ', '.join(f'{ends[name]} {name}' for name in sorted(ends))
        counts = Counter(fault for fault in faults if fault)
        injected = ', '.join(f'{count} {name}' for name, count in counts.items())
        print(
            f'\n{len(faults)} kills ({sent}), {hit} of them inside a checkpoint write; besides, '
            f'{injected}. {len(faults)} survived, all bit-identical; {again} '
            'steps computed twice'
        )
