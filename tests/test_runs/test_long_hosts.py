"""A run on two hosts of which one is lost."""

import pytest
import torch
from exact_runs import end_of, exact_run
from two_hosts import Hosts, why_not

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def one_thread():
    """As many threads as the processes on the hosts have: sums depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.skipif(bool(why_not()), reason=why_not() or 'not skipped')
@pytest.mark.parametrize('how', ['cut_off', 'kill'])
def test_a_run_goes_on_without_a_host_that_is_lost_as_if_it_were_resumed_by_hand(
    how, tmp_path, capsys
):
    with Hosts(tmp_path / 'run') as hosts:
        hosts.start('a')
        hosts.start('b')
        hosts.wait_for('a', 'step 6')
        getattr(hosts, how)('b')
        hosts.wait_for('a', 'finished')
        said = hosts.log('a').read_text()
    alone = said.index('processes 1')
    before, after = (
        [int(line.split()[1]) for line in part.splitlines() if line.startswith('step ')]
        for part in (said[:alone], said[alone:])
    )
    resumed_at = after[0]
    assert 'processes 2' in said[:alone] and 1 < resumed_at <= before[-1] + 1
    by_hand = exact_run(
        tmp_path / 'by_hand',
        iterations=12,
        noisy=False,
        load_from=str(tmp_path / 'run' / f'iter_{resumed_at - 1}.pth'),
        resume=True,
    )
    by_hand.train()
    left, right = end_of(tmp_path / 'run'), end_of(tmp_path / 'by_hand')
    for key, value in left.items():
        same = torch.equal(value, right[key]) if torch.is_tensor(value) else value == right[key]
        assert same, key
    with capsys.disabled():
        print(
            f'\nhost lost ({how}) in step {before[-1]}: resumed '
            f'on one host at step {resumed_at}, and ended as resumed by hand'
        )
