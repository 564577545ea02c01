"""Numbers in the state of a run that would let a resumed run load data for hours."""

import pytest
import torch
from exact_runs import exact_run

from casvit.errors import CheckpointError


@pytest.fixture(scope='module')
def halted(tmp_path_factory):
    """The checkpoint of a run with four images in a step, after two steps."""
    folder = tmp_path_factory.mktemp('halted')
    exact_run(folder, iterations=2).train()
    return folder / 'iter_2.pth'


@pytest.mark.parametrize('iterations', [3, None])
@pytest.mark.parametrize(
    ('key', 'change'),
    [
        ('place', dict(done=10**12)),
        ('place', dict(done=256 * 3 + 1)),
        ('circumstances', {'images per process': 10**12}),
        ('circumstances', {'processes': 10**600}),
    ],
    ids=str,
)
def test_more_batches_than_a_run_can_have_behind_it_are_refused(
    key, change, iterations, halted, tmp_path
):
    content = torch.load(halted, weights_only=False)
    content['run_state'][key].update(change)
    torch.save(content, tmp_path / 'a.pth')
    runner = exact_run(
        tmp_path, iterations=iterations, load_from=str(tmp_path / 'a.pth'), resume=True
    )
    with pytest.raises(CheckpointError, match=r'a\.pth .*run_state\.place\.done'):
        runner.train()


def test_a_run_whose_steps_had_many_more_images_is_resumed(halted, tmp_path):
    content = torch.load(halted, weights_only=False)
    content['run_state']['circumstances']['images per process'] = 4 * 300
    torch.save(content, tmp_path / 'a.pth')
    runner = exact_run(tmp_path, iterations=3, load_from=str(tmp_path / 'a.pth'), resume=True)
    runner.train()
    assert runner.train_loop.done == 2 * 300 + 1


def test_circumstances_that_are_no_plain_values_are_refused(halted, tmp_path):
    content = torch.load(halted, weights_only=False)
    content['run_state']['circumstances']['threads'] = torch.zeros(0)
    torch.save(content, tmp_path / 'a.pth')
    runner = exact_run(tmp_path, iterations=3, load_from=str(tmp_path / 'a.pth'), resume=True)
    with pytest.raises(CheckpointError, match='place or circumstances'):
        runner.train()
