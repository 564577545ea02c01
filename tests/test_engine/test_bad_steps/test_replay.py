"""Files of bad steps: what they hold, who reads them, and what computing them again gives."""

import math

import numpy as np
import pytest
import torch
from exact_runs import Random, exact_run
from hostile import HOSTILE, mark
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from two_processes import in_two_processes

from casvit.errors import CheckpointError
from casvit_mm.engine.bad_steps import record
from casvit_mm.engine.bad_steps.batch import KIND
from casvit_mm.engine.bad_steps.record import read_bad_step
from casvit_mm.engine.bad_steps.replay import replay
from casvit_mm.models.checkpoint import load_into


class Poison(Hook):
    """Changes the first sample of some steps, counted from 1."""

    def __init__(self, *steps, value=math.nan):
        self.steps, self.value = steps, value

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 in self.steps:
            data_batch[0].fill_(self.value)


class Steep(Random):
    """Has the root of zero in its loss: it is finite, and its gradient is not."""

    def forward(self, *samples, mode='tensor'):
        output = super().forward(*samples, mode=mode)
        if mode == 'loss' and torch.stack(samples).max() > 100:
            output['loss_root'] = (self.layers[3].bias * 0).sqrt().sum()
        return output


def of_file(path, model, device=None):
    step, content = read_bad_step(path)
    load_into(model, content, strict=True, source=str(path))
    return step, replay(model, step, device or get_device())


def warnings_of(runner):
    messages = []
    runner.logger.warning = messages.append
    return messages


@pytest.mark.parametrize('options', [dict(), dict(iterations=9), dict(accumulated=3)], ids=str)
def test_a_step_computed_again_has_the_same_losses_bit_for_bit(options, tmp_path):
    hook = Poison(5, value=200.0)
    runner = exact_run(tmp_path, custom_hooks=[hook], model=Steep, **options)
    messages = warnings_of(runner)
    runner.train()
    file = tmp_path / 'bad_steps/step_5.pth'
    assert any('a gradient is not finite' in each for each in messages)
    assert any(f'casvit replay {file}' in each and '2.0 GiB' in each for each in messages)
    # The random numbers of a process are others by now.
    torch.manual_seed(99)
    step, replayed = of_file(file, Steep())
    assert step.found == ['gradient'] and (step.iteration, step.rank, step.seed) == (4, 0, 0)
    assert (step.epoch, step.done) == ((0, 4) if 'iterations' in options else (1, 0))
    # The 14 images of a pass are four batches.
    assert (step.passes, step.positions, step.rewinds) == (1, [0, 1, 2, 3], 0)
    assert math.isfinite(step.losses['loss']) and replayed.losses == step.losses
    assert replayed.gradients == ['layers.3.bias'] and replayed.weights == 6
    assert replayed.reproduces(step) and replayed.is_exact(step)
    assert replayed.module == '' and replayed.inputs == []
    # The weight is used by the loss itself.
    assert replayed.backward_module == ''


def test_the_first_module_whose_output_is_not_finite_is_found_and_what_is_wrong_in_the_batch(
    tmp_path,
):
    exact_run(tmp_path, custom_hooks=[Poison(2)]).train()
    step, replayed = of_file(tmp_path / 'bad_steps/step_2.pth', Random())
    assert replayed.inputs == ['batch.0'] and replayed.module == 'data_preprocessor'
    assert replayed.module_input_is_finite is False
    assert 'loss' in step.found and replayed.reproduces(step)


class Rooted(Random):
    """Has the root of zero in its loss, behind the activations of a layer."""

    def forward(self, *samples, mode='tensor'):
        output = super().forward(*samples, mode=mode)
        if mode == 'loss' and torch.stack(samples).max() > 100:
            first = self.layers[0](torch.stack(samples))
            output['loss_root'] = self.layers[3]((first * 0).sqrt()).sum()
        return output


def test_the_first_module_on_the_way_back_whose_gradient_is_not_finite_is_found(tmp_path):
    exact_run(tmp_path, custom_hooks=[Poison(3, value=200.0)], model=Rooted).train()
    step, replayed = of_file(tmp_path / 'bad_steps/step_3.pth', Rooted())
    assert step.found == ['gradient'] and replayed.module == ''
    # Layer 3 comes first on the way back, and its gradients are finite.
    assert replayed.backward_module == 'layers.0'
    assert replayed.gradients == ['layers.0.weight', 'layers.0.bias']


class Smaller(Hook):
    """Pads to another size than the config says, as one that trains with small images first."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.model.data_preprocessor.size = (48, 64)


def test_images_are_padded_to_the_size_of_the_step(tmp_path):
    exact_run(tmp_path, custom_hooks=[Poison(2), Smaller()]).train()
    model = Random()
    of_file(tmp_path / 'bad_steps/step_2.pth', model)
    assert model.data_preprocessor.size == (48, 64)


def test_a_step_that_is_finite_here_does_not_reproduce_the_problem(tmp_path):
    exact_run(tmp_path, custom_hooks=[Poison(5, value=200.0)], model=Steep).train()
    step, replayed = of_file(tmp_path / 'bad_steps/step_5.pth', Random())
    assert not replayed.reproduces(step) and not replayed.is_exact(step)


def bad_gradient_in_one_process(where):
    """All processes see that a gradient is not finite, and one of them is the cause."""
    rank = torch.distributed.get_rank()
    hook = Poison(3, value=200.0) if rank else Poison()
    runner = exact_run(where, custom_hooks=[hook], model=Steep, epochs=2)
    runner.model = MMDistributedDataParallel(runner.model)
    messages = warnings_of(runner)
    runner.train()
    assert any('The step of process 1 (' in each for each in messages)
    weights = {name: each for name, each in runner.model.named_parameters()}
    others = [None, None]
    torch.distributed.all_gather_object(others, weights)
    assert all(torch.equal(each, others[1 - rank][name]) for name, each in weights.items())
    assert all(each.isfinite().all() for each in weights.values())


def test_the_file_holds_the_batch_of_the_process_whose_own_gradient_is_not_finite(tmp_path):
    in_two_processes(bad_gradient_in_one_process, str(tmp_path))
    assert [file.name for file in (tmp_path / 'bad_steps').iterdir()] == ['step_3.pth']
    step, replayed = of_file(tmp_path / 'bad_steps/step_3.pth', Steep(), 'cpu')
    # Each process has 7 of the 14 images: two batches in a pass.
    assert (step.rank, step.found) == (1, ['gradient'])
    assert (step.passes, step.positions) == (1, [1, 3, 5, 7])
    assert replayed.gradients == ['layers.3.bias'] and replayed.is_exact(step)


def test_a_run_stores_three_steps_also_if_it_was_resumed(tmp_path):
    runner = exact_run(tmp_path, custom_hooks=[Poison(2, 4)])
    runner.train()
    assert sorted(file.name for file in (tmp_path / 'bad_steps').iterdir()) == [
        'step_2.pth',
        'step_4.pth',
    ]
    resumed = exact_run(
        tmp_path,
        load_from=str(tmp_path / 'iter_4.pth'),
        resume=True,
        custom_hooks=[Poison(6, 8, 10)],
    )
    resumed.train()
    assert len(list((tmp_path / 'bad_steps').iterdir())) == 3


def test_a_step_that_is_too_large_is_left_out_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(record, 'LARGEST', 100)
    runner = exact_run(tmp_path, custom_hooks=[Poison(2)])
    messages = warnings_of(runner)
    runner.train()
    assert any('not stored to be replayed: the file would have' in each for each in messages)
    assert not (tmp_path / 'bad_steps').exists()


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path):
    (tmp_path / 'bad_steps').write_text('a file')
    runner = exact_run(tmp_path, custom_hooks=[Poison(2)])
    messages = warnings_of(runner)
    runner.train()
    assert any(each.startswith('The step cannot be written to') for each in messages)
    assert runner.epoch == 3


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_files_are_refused(name, tmp_path):
    file = tmp_path / 'step_1.pth'
    HOSTILE[name](file)
    with pytest.raises(CheckpointError):
        read_bad_step(file)
    assert not mark(file).exists()


ODD = {
    'no batch sample': {KIND: 'Popen', 'metainfo': {}, 'data': {}},
    'a kind that is no name': {KIND: ['DetDataSample'], 'metainfo': {}, 'data': {}},
    'private': {KIND: 'InstanceData', 'metainfo': {}, 'data': {'_data_fields': {}}},
    'the class': {KIND: 'InstanceData', 'metainfo': {}, 'data': {'__class__': 1}},
    'a method': {KIND: 'DetDataSample', 'metainfo': {'to': 1}, 'data': {}},
    'no name': {KIND: 'DetDataSample', 'metainfo': {1: 1}, 'data': {}},
    'bitmaps of another size': {
        KIND: 'BitmapMasks',
        'masks': torch.zeros(1, 2, 2, dtype=torch.uint8),
        'height': 9,
        'width': 2,
    },
    'an array of text': {KIND: 'array', 'values': 'text'},
}


@pytest.fixture(scope='module')
def stored(tmp_path_factory):
    where = tmp_path_factory.mktemp('run')
    exact_run(where, custom_hooks=[Poison(2)]).train()
    return torch.load(where / 'bad_steps/step_2.pth', weights_only=True)


@pytest.mark.parametrize('name', ODD)
def test_objects_that_no_batch_holds_are_refused(name, stored, tmp_path):
    changed = {**stored, 'bad_step': {**stored['bad_step'], 'batch': [ODD[name]]}}
    torch.save(changed, tmp_path / 'step.pth')
    with pytest.raises(CheckpointError, match=r'batch in .* cannot be built'):
        read_bad_step(tmp_path / 'step.pth')


CHANGES = [
    dict(seed='1'),
    dict(rank=-1),
    dict(passes=-1),
    dict(positions=[0.5]),
    dict(positions=None),
    dict(rewinds='1'),
    dict(losses={'loss': 'nan'}),
    dict(losses=[]),
    dict(images='a.jpg'),
    dict(found=[1]),
    dict(precision='os.system'),
    dict(precision=[]),
    dict(is_autocast=1),
    dict(padded_to=[0, 96]),
    dict(padded_to=[96]),
    dict(padded_to='96'),
    dict(padded_to=[1e9, 96]),
    dict(more=1),
]


@pytest.mark.parametrize('change', CHANGES, ids=str)
def test_other_content_is_refused(change, stored, tmp_path):
    torch.save({**stored, 'bad_step': {**stored['bad_step'], **change}}, tmp_path / 'step.pth')
    with pytest.raises(CheckpointError, match='not the file of a bad step'):
        read_bad_step(tmp_path / 'step.pth')


def test_damage_is_found(tmp_path):
    exact_run(tmp_path, custom_hooks=[Poison(2)]).train()
    file = tmp_path / 'bad_steps/step_2.pth'
    content = bytearray(file.read_bytes())
    # In the middle of the memory of a weight.
    weight = np.float32(torch.load(file)['state_dict']['layers.0.bias'][0].item()).tobytes()
    content[content.index(weight)] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_bad_step(file)
