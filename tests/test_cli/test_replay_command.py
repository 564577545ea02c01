"""`casvit replay`: a run whose numbers went wrong, and the step computed again."""

import re

import pytest
import torch
from quick_runs import DEMO, QUICK

# Finite weights that are far too large, after one step.
TOO_FAST = ['optim_wrapper.optimizer.lr=1e30', 'train_cfg.max_epochs=4']


@pytest.fixture(scope='module')
def diverged(shapes, tmp_path_factory):
    """The work dir of a run that was stopped, and what it said."""
    from casvit.cli.main import run_tool

    work_dir = tmp_path_factory.mktemp('diverged')
    where = ['--data-root', str(shapes), '--work-dir', str(work_dir)]
    assert run_tool('train', [DEMO, *where, *QUICK, *TOO_FAST]) == 2
    return work_dir


@pytest.fixture
def step(diverged):
    return diverged / 'bad_steps/step_2.pth'


def test_a_run_whose_loss_stays_invalid_ends_with_finite_weights_and_files(diverged, step):
    names = sorted(file.name for file in (diverged / 'bad_steps').iterdir())
    assert names == ['step_2.pth', 'step_3.pth', 'step_4.pth']
    weights = torch.load(step, weights_only=True)['state_dict']
    assert all(each.isfinite().all() for each in weights.values())
    log = next(diverged.glob('*/*.log')).read_text()
    assert 'The update of step 2 was skipped' in log and 'casvit replay' in log


def test_the_step_is_computed_again_with_the_config_in_the_file(call, step, shapes):
    answer = call('replay', step, '--device', 'cpu')
    assert answer.code == 0, answer.err
    lines = dict(line.split(': ', 1) for line in answer.out.splitlines() if ': ' in line)
    assert lines['step'].startswith('2, epoch 1, batch 2, process 0')
    assert lines['positions of its samples'] == '5, 6, 7, 8, in pass 1 over the dataset'
    assert str(shapes) in lines['images'] and lines['images'].count('.jpg') == 4
    assert 'nan' in lines['losses'] and lines['losses'].endswith('(the same as in the run)')
    assert lines['values of the batch that are not finite'] == 'none'
    assert re.match(
        r'backbone\..* \(its input is finite\)', lines['first module whose output is not finite']
    )
    broken, of = re.match(r'(\d+) of (\d+)', lines['weights whose gradient is not finite']).groups()
    assert 0 < int(broken) <= int(of)


def test_the_config_may_be_another_file(call, step):
    assert call('replay', step, '--config', DEMO, '--device', 'cpu').code == 0
    other = call('replay', step, '--config', 'semantic_fpn_casvit-xs_demo_shapes')
    assert other.code == 2 and 'Traceback' not in other.err


def test_a_step_that_is_finite_here_has_the_exit_code_1(call, step, checkpoint, tmp_path):
    content = torch.load(step, weights_only=True)
    trained = torch.load(checkpoint, weights_only=False)['state_dict']
    torch.save({**content, 'state_dict': trained}, tmp_path / 'step.pth')
    answer = call('replay', 'step.pth', '--device', 'cpu')
    assert answer.code == 1, answer.err
    assert 'The step is finite here.' in answer.out and 'torch' in answer.out
    assert 'first module whose output is not finite: none' in answer.out


def test_another_file_is_refused_in_a_sentence(call, checkpoint, tmp_path):
    answer = call('replay', checkpoint)
    assert answer.code == 2 and 'not the file of a bad step' in answer.err
    assert call('replay', tmp_path / 'none.pth').code == 2


def test_a_device_that_is_not_there_is_named(call, step):
    answer = call('replay', step, '--device', 'cuda:99')
    assert answer.code == 2 and "The device 'cuda:99' cannot be used" in answer.err


def test_code_in_the_config_of_a_file_is_never_run(call, step, tmp_path):
    content = torch.load(step, weights_only=True)
    ran = tmp_path / 'ran'
    content['meta']['cfg'] += f'\nopen({str(ran)!r}, "w")\n'
    torch.save(content, tmp_path / 'step.pth')
    answer = call('replay', 'step.pth')
    assert answer.code == 2 and 'config in step.pth is refused' in answer.err
    assert answer.err.rstrip().endswith('--config CONFIG.')
    assert not ran.exists()


@pytest.mark.parametrize('batch', [[1, 2], {}, dict(inputs=torch.ones(3), data_samples=None)])
def test_a_batch_that_the_model_cannot_take_is_no_finite_step(batch, call, step, tmp_path):
    content = torch.load(step, weights_only=True)
    content['bad_step']['batch'] = batch
    torch.save(content, tmp_path / 'step.pth')
    answer = call('replay', 'step.pth', '--device', 'cpu')
    assert answer.code == 2 and 'cannot be computed with this model' in answer.err
