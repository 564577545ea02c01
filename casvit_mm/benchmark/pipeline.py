"""Times the steps of a data pipeline, to see whether data loading keeps up with training."""

import time
from collections import defaultdict
from typing import Any

from mmengine.config import Config

from casvit.terminal.progress import Progress
from casvit_mm.benchmark.measure import spread
from casvit_mm.datasets.build import build_dataset


def time_pipeline(cfg: Config, samples: int) -> dict[str, Any]:
    """Runs images through the training pipeline of a config, in this process.

    Args:
        cfg: A config with a ``train_dataloader`` whose dataset exists.
        samples: Number of images, spread evenly over the dataset; all of a smaller dataset.

    Returns:
        The number of images; the spread of the seconds per image; and under ``steps``, in order,
        the name of each transform and its mean time in seconds.

    Raises:
        DatasetError: No image is left in the dataset.
    """
    dataset = build_dataset(cfg, 'train')
    while not hasattr(dataset, 'pipeline'):
        dataset = dataset.datasets[0] if hasattr(dataset, 'datasets') else dataset.dataset
    dataset.full_init()
    samples = min(samples, len(dataset))
    steps: defaultdict[str, float] = defaultdict(float)
    totals = []
    for position in Progress(range(samples), desc='pipeline', unit='image'):
        results = dataset.get_data_info(position * len(dataset) // samples)
        begin = time.perf_counter()
        for place, transform in enumerate(dataset.pipeline.transforms):
            start = time.perf_counter()
            results = transform(results)
            steps[f'{place} {type(transform).__name__}'] += time.perf_counter() - start
            if results is None:
                break
        totals.append(time.perf_counter() - begin)
    return {
        'samples': samples,
        'seconds': spread(totals),
        'steps': [
            {'name': name.partition(' ')[2], 'seconds': seconds / samples}
            for name, seconds in steps.items()
        ],
    }
