import pytest
import torch
from exact_runs import end_of, exact_run
from mmengine.hooks import Hook

ALL = dict(map_location='cpu', weights_only=False)


class CutError(Exception):
    """Ends a run in a place where a process could be killed."""


class CutHook(Hook):
    """Ends a run before the nth call of an event."""

    priority = 'LOWEST'

    def __init__(self, event, number):
        self.left = number
        setattr(self, event, self.count)

    def count(self, *args, **kwargs):
        self.left -= 1
        if self.left < 0:
            raise CutError


def assert_the_same(left, right):
    assert left.keys() == right.keys()
    different = [
        key
        for key, value in left.items()
        if not (torch.equal(value, right[key]) if torch.is_tensor(value) else value == right[key])
    ]
    assert different == []


KINDS = {
    'epochs': dict(),
    'iterations': dict(iterations=9),
    'epochs, accumulated gradients': dict(accumulated=3),
    'iterations, accumulated gradients': dict(iterations=10, accumulated=3),
    'epochs, worker processes': dict(workers=2, noisy=False),
    'iterations, worker processes': dict(iterations=9, workers=1, noisy=False),
}


@pytest.mark.parametrize('kind', KINDS)
def test_a_run_resumed_at_any_step_ends_bit_for_bit_like_one_that_was_not_interrupted(
    kind, tmp_path
):
    whole = exact_run(tmp_path / 'whole', **KINDS[kind])
    whole.train()
    expected = end_of(whole.work_dir)
    files = sorted((tmp_path / 'whole').glob('iter_*.pth'), key=lambda p: int(p.stem[5:]))
    assert len(files) == whole.train_loop.iter
    # With worker processes, which take longer to start, at some steps.
    for file in files[:-1] if 'worker' not in kind else files[1:-1:3]:
        resumed = exact_run(tmp_path / file.stem, load_from=str(file), resume=True, **KINDS[kind])
        resumed.train()
        assert_the_same(expected, end_of(resumed.work_dir))


EVENTS = [
    ('before_train_iter', 5),
    ('after_train_iter', 7),
    ('before_val', 1),
    ('after_val_iter', 5),
    ('after_val_epoch', 1),
    ('after_val', 1),
    ('before_train_epoch', 1),
]


@pytest.mark.parametrize('iterations', [None, 9])
@pytest.mark.parametrize(('event', 'number'), EVENTS)
def test_a_run_that_is_cut_anywhere_also_in_a_validation_goes_on_from_its_newest_checkpoint(
    event, number, iterations, tmp_path
):
    whole = exact_run(tmp_path / 'whole', iterations=iterations)
    whole.train()
    if iterations and event == 'before_train_epoch':
        number = 0
    cut = exact_run(tmp_path / 'cut', iterations=iterations, custom_hooks=[CutHook(event, number)])
    with pytest.raises(CutError):
        cut.train()
    resumed = exact_run(tmp_path / 'cut', iterations=iterations, resume=True)
    resumed.train()
    assert_the_same(end_of(whole.work_dir), end_of(resumed.work_dir))


def test_two_samples_never_get_the_same_random_numbers(tmp_path):
    runner = exact_run(tmp_path, epochs=3)
    seen = []

    class Watch(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.extend(float(sample[1]) for sample in data_batch)

    runner.register_hook(Watch())
    runner.train()
    assert len(set(seen)) == len(seen) == 3 * 14


def test_a_sample_gets_the_same_random_numbers_however_many_processes_load_it(tmp_path):
    left = [exact_run(tmp_path / str(workers), workers=workers, noisy=False) for workers in (0, 2)]
    for runner in left:
        runner.train()
    assert_the_same(*(end_of(runner.work_dir) for runner in left))


def test_checkpoints_of_mmengine_are_resumed_with_a_warning_that_they_are_not_exact(
    tmp_path, caplog
):
    whole = exact_run(tmp_path)
    whole.train()
    file = tmp_path / 'iter_6.pth'
    content = torch.load(file, **ALL)
    del content['run_state']
    torch.save(content, file)
    resumed = exact_run(tmp_path / 'resumed', load_from=str(file), resume=True)
    warned = []
    resumed.logger.addFilter(lambda record: warned.append(record.getMessage()) or True)
    resumed.logger.setLevel('WARNING')
    resumed.train()
    assert resumed.train_loop.iter == whole.train_loop.iter
    assert any('does not hold the exact state' in line for line in warned)


@pytest.mark.parametrize('iterations', [None, 14])
def test_with_another_batch_size_the_samples_keep_their_order_and_none_is_left_out(
    iterations, tmp_path
):
    seen = []

    class WatchHook(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.extend(int(sample[0]) for sample in data_batch)

    whole = exact_run(tmp_path, iterations=iterations)
    whole.register_hook(WatchHook())
    whole.train()
    expected, seen[:] = list(seen), []
    resumed = exact_run(
        tmp_path / 'resumed',
        iterations=iterations,
        batch=2,
        load_from=str(tmp_path / 'iter_2.pth'),
        resume=True,
    )
    warned = []
    resumed.logger.addFilter(lambda record: warned.append(record.getMessage()) or True)
    resumed.logger.setLevel('WARNING')
    resumed.register_hook(WatchHook())
    resumed.train()
    assert seen == expected[8 : 8 + len(seen)] and len(seen) >= 6
    assert any('A step has 2 images now, and had 4' in line for line in warned)


def test_a_pipeline_that_remembers_images_is_named_when_a_run_is_resumed(tmp_path):
    from mmcv.transforms import Compose
    from mmdet.datasets.transforms import CachedMosaic

    whole = exact_run(tmp_path, epochs=1)
    whole.train()
    resumed = exact_run(tmp_path, epochs=2, resume=True)
    resumed.train_dataloader.dataset.pipeline = Compose([CachedMosaic((8, 8))])
    warned = []
    resumed.logger.addFilter(lambda record: warned.append(record.getMessage()) or True)
    resumed.logger.setLevel('WARNING')
    resumed.train()
    assert any('CachedMosaic of its pipeline keeps earlier images' in line for line in warned)
