"""Whether the data keep up with the training: what each step of a pipeline takes."""

import time
from collections import defaultdict
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import set_random_seed
from tqdm import tqdm

from casvit_mm.benchmark.measure import spread


def time_pipeline(cfg: Config, samples: int) -> dict[str, Any]:
    """Takes pictures through the pipeline of a training, in this process.

    Args:
        cfg: A config with a ``train_dataloader``, whose data are there.
        samples: How many pictures, taken evenly from the data set; of a smaller one all.

    Returns:
        The number of pictures; the spread of the seconds that one takes; and under ``steps``, in
        their order, the name of each transform and the mean of its seconds.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    set_random_seed((cfg.get('randomness') or {}).get('seed') or 0)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    while not hasattr(dataset, 'pipeline'):
        dataset = dataset.datasets[0] if hasattr(dataset, 'datasets') else dataset.dataset
    dataset.full_init()
    samples = min(samples, len(dataset))
    steps: defaultdict[str, float] = defaultdict(float)
    totals = []
    for position in tqdm(range(samples), desc='pipeline', unit='picture'):
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
