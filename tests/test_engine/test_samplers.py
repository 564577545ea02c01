"""Multi-scale batches."""

import copy
import pickle
from collections import Counter
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import BaseDataset, ConcatDataset, DefaultSampler, RepeatDataset
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import RandomSampler

from casvit_mm.engine.samplers import MultiScaleBatchSampler, SizedIndex

pytest.importorskip('mmpretrain')


def of_rank(sampler, rank, world_size, seed, epoch):
    """The sampler as it is in one of several processes."""
    sampler = copy.copy(sampler)
    sampler.rank, sampler.world_size = rank, world_size
    sampler.num_samples = -(-len(sampler.dataset) // world_size)
    sampler.total_size = sampler.num_samples * world_size
    sampler.seed, sampler.epoch = seed, epoch
    return sampler


def batches(samples, batch_size, rank=0, world_size=1, seed=0, epoch=0, **kwargs):
    sampler = of_rank(DefaultSampler(range(samples)), rank, world_size, seed, epoch)
    return MultiScaleBatchSampler(sampler, batch_size, **kwargs)


numbers = dict(samples=st.integers(1, 700), batch_size=st.integers(1, 40), epoch=st.integers(0, 5))


@given(**numbers, drop_last=st.booleans())
def test_every_index_is_used_once_and_the_length_is_the_number_of_batches(
    samples, batch_size, epoch, drop_last
):
    sampler = batches(samples, batch_size, epoch=epoch, drop_last=drop_last)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    counts = Counter(int(index) for batch in drawn for index in batch)
    assert set(counts) <= set(range(samples))
    assert not counts or max(counts.values()) == 1
    if not drop_last:
        assert len(counts) == samples


@given(**numbers)
def test_a_batch_has_one_size_and_about_as_many_pixels_as_at_the_base_size(
    samples, batch_size, epoch
):
    sampler = batches(samples, batch_size, epoch=epoch)
    sizes = set(sampler.sizes)
    full = 0
    for batch in sampler:
        (size,) = {index.size for index in batch}
        assert size in sizes and size % 32 == 0
        expected = max(batch_size, 224**2 * batch_size // size**2)
        assert len(batch) <= expected
        full += len(batch) == expected
        if size > 224:
            assert expected == batch_size
        else:
            assert 224**2 * batch_size - size**2 < expected * size**2 <= 224**2 * batch_size
    assert full >= len(sampler) - 1


@given(**numbers, world_size=st.integers(2, 8), seed=st.integers(0, 9))
def test_all_processes_use_the_same_size_in_each_step(samples, batch_size, epoch, world_size, seed):
    steps = [
        [
            (batch[0].size, len(batch))
            for batch in batches(samples, batch_size, rank, world_size, seed, epoch)
        ]
        for rank in range(world_size)
    ]
    assert all(left == right for left, right in pairwise(steps))


@given(**numbers)
def test_all_epochs_have_equally_many_batches_and_are_reproducible(samples, batch_size, epoch):
    lengths = {len(list(batches(samples, batch_size, epoch=e))) for e in range(3)}
    assert len(lengths) == 1
    first, second = (list(batches(samples, batch_size, epoch=epoch)) for _ in range(2))
    assert first == second
    assert [batch[0].size for batch in first] == [batch[0].size for batch in second]


def test_the_order_of_sizes_differs_between_epochs_and_seeds():
    orders = {
        tuple(batch[0].size for batch in batches(5000, 16, epoch=epoch, seed=seed))
        for epoch in range(3)
        for seed in range(3)
    }
    assert len(orders) == 9


def test_the_published_sizes_are_used_equally_often():
    counts = Counter(batch[0].size for batch in batches(100_000, 128))
    assert set(counts) == {160, 192, 224, 256, 288, 320}
    assert max(counts.values()) - min(counts.values()) <= 1
    assert set(batches(1000, 64, base_size=384).sizes) == {160, 192, 256, 288, 320, 384}


def test_the_batch_size_at_each_size_is_as_published():
    full = {}
    for batch in batches(100_000, 128):
        full[batch[0].size] = max(len(batch), full.get(batch[0].size, 0))
    assert full == {160: 250, 192: 174, 224: 128, 256: 128, 288: 128, 320: 128}


def test_a_sampler_of_torch_works_too():
    drawn = list(MultiScaleBatchSampler(RandomSampler(range(50)), 8))
    assert sorted(int(i) for batch in drawn for i in batch) == list(range(50))


@pytest.mark.parametrize('wrong', [dict(batch_size=0), dict(scale_range=(16, 64)), dict(divisor=0)])
def test_impossible_arguments_are_rejected(wrong):
    with pytest.raises(ValueError, match='expected at least 1'):
        MultiScaleBatchSampler(DefaultSampler(range(4)), **{'batch_size': 2, **wrong})
    with pytest.raises(ValueError, match='no length'):
        MultiScaleBatchSampler(iter(range(4)), 2)


@given(index=st.integers(0, 10**9), size=st.integers(1, 4096), other=st.integers(1, 10**9))
def test_an_index_keeps_its_size_wherever_it_goes(index, size, other):
    sized = SizedIndex(index, size)
    assert sized == index and hash(sized) == hash(index)
    for same in (pickle.loads(pickle.dumps(sized)), copy.deepcopy(sized), copy.copy(sized)):
        assert (same, same.size) == (index, size)
    assert (sized % other, (sized % other).size) == (index % other, size)
    assert (sized - other, (sized - other).size) == (index - other, size)


@DATASETS.register_module()
class NoiseImages(BaseDataset):
    """A few PNG files of noise."""

    def load_data_list(self):
        return [dict(img_path=path, gt_label=0) for path in self.ann_file.split(':')]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('noise')
    rng = np.random.default_rng(0)
    paths = [folder / f'{number}.png' for number in range(10)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 255, (80, 100, 3), dtype=np.uint8))
    return ':'.join(map(str, paths))


def loader(files, workers, dataset=None, **kwargs):
    noise = dict(
        type='NoiseImages',
        ann_file=files,
        pipeline=[
            dict(type='mmpretrain.LoadImageFromFile'),
            dict(type='MultiScaleRandomResizedCrop', scale=64, interpolation='bicubic'),
            dict(type='mmpretrain.PackInputs'),
        ],
        **kwargs,
    )
    DefaultScope.get_instance('samplers', scope_name='mmpretrain')
    import mmpretrain.datasets  # noqa: F401

    return Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=workers,
            sampler=dict(type='DefaultSampler', shuffle=True),
            batch_sampler=dict(
                type='MultiScaleBatchSampler', base_size=64, scale_range=(32, 96), num_scales=3
            ),
            dataset=dataset(noise) if dataset else noise,
        ),
        seed=3,
    )


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('serialize', [True, False])
def test_images_of_a_batch_have_the_size_that_the_sampler_sets(files, workers, serialize):
    loaded = loader(files, workers, serialize_data=serialize)
    loaded.batch_sampler.sampler.seed = 3
    asked = [(batch[0].size, len(batch)) for batch in loaded.batch_sampler]
    given_ = [(batch['inputs'][0].shape[-1], len(batch['inputs'])) for batch in loaded]
    assert asked == given_
    assert len(loaded) == len(given_)
    assert {size for size, _ in asked} <= {32, 64, 96}
    for batch in loaded:
        assert len({tuple(image.shape) for image in batch['inputs']}) == 1


@pytest.mark.parametrize(
    'wrapper',
    [
        lambda noise: dict(type=RepeatDataset, dataset=noise, times=3),
        lambda noise: dict(type=ConcatDataset, datasets=[noise, noise]),
    ],
)
def test_sizes_pass_through_dataset_wrappers(files, wrapper):
    sizes = {batch['inputs'][0].shape[-1] for batch in loader(files, 0, wrapper)}
    assert {32, 64} <= sizes


def test_the_crop_uses_its_own_size_for_samples_without_one():
    crop = TRANSFORMS.build(dict(type='MultiScaleRandomResizedCrop', scale=48))
    image = np.zeros((80, 100, 3), np.uint8)
    assert crop(dict(img=image, sample_idx=SizedIndex(1, 32)))['img'].shape == (32, 32, 3)
    for results in (dict(img=image), dict(img=image, sample_idx=np.int64(7))):
        assert crop(results)['img'].shape == (48, 48, 3)
    assert 'RandomResizedCrop(scale=(48, 48)' in repr(crop)
