"""Writes model-index.yml and the metafiles of configs/, OpenMMLab's list of published models.

Everything in them comes from the table of published weights, except the costs of a model, which
are counted here: a minute or two.
"""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml

if find_spec('casvit') is None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from casvit.configs import config_path
from casvit.tables import PUBLISHED_WEIGHTS, PublishedWeights

ROOT = Path(__file__).resolve().parent.parent
PAPER = 'https://arxiv.org/abs/2408.03703'
CODE = 'https://github.com/Tianfang-Zhang/CAS-ViT'
SOURCE = 'published by the authors of CAS-ViT, not reproduced here'
HEADER = f'# Written by `make index` from the table of published weights. Figures: {SOURCE}.\n'
MODEL_INDEX = 'model-index.yml'


class Family(NamedTuple):
    """What the published models of a task have in common.

    Attributes:
        collection: The name of their collection.
        folder: Their folder of configs.
        task: The task, as metafiles call it.
        data: The dataset, as metafiles call it.
        shape: Height and width of the input that costs are counted for; None if it is in the
            table.
    """

    collection: str
    folder: str
    task: str
    data: str
    shape: tuple[int, int] | None


FAMILIES = {
    'classification': Family(
        'CAS-ViT', 'classification', 'Image Classification', 'ImageNet-1k', None
    ),
    'detection': Family('CAS-ViT RetinaNet', 'detection', 'Object Detection', 'COCO', (800, 1280)),
    'instance': Family(
        'CAS-ViT Mask R-CNN', 'detection', 'Instance Segmentation', 'COCO', (800, 1280)
    ),
    'semantic': Family(
        'CAS-ViT Semantic FPN', 'segmentation', 'Semantic Segmentation', 'ADE20K', (512, 512)
    ),
}
METRICS = {'top-1': 'Top 1 Accuracy', 'box AP': 'box AP', 'mask AP': 'mask AP', 'mIoU': 'mIoU'}
"""Metrics of the table, by the names that OpenMMLab's metafiles have for them."""

TASK_OF_METRIC = {'box AP': 'Object Detection'}
"""Tasks of metrics that are not those of the model."""


class Costs(NamedTuple):
    """What one image costs.

    Attributes:
        flops: Multiply-accumulates, which OpenMMLab's metafiles call FLOPs.
        parameters: Parameters of the model.
    """

    flops: int
    parameters: int


def written_files(costs: Mapping[str, Costs]) -> dict[str, str]:
    """The content of every file.

    Args:
        costs: Those of each published model, by its config.

    Returns:
        Texts by the paths of their files in the checkout.
    """
    folders = sorted({family.folder for family in FAMILIES.values()})
    metafiles = {f'configs/{folder}/metafile.yml': _metafile(folder, costs) for folder in folders}
    return {MODEL_INDEX: _text({'Import': list(metafiles)}), **metafiles}


def costs_in(texts: Mapping[str, str]) -> dict[str, Costs]:
    """Reads the costs of each model, by its config, from metafiles."""
    models = [model for text in texts.values() for model in yaml.safe_load(text).get('Models', ())]
    return {
        model['Name']: Costs(model['Metadata']['FLOPs'], model['Metadata']['Parameters'])
        for model in models
    }


def count_costs(weights: PublishedWeights) -> Costs:
    """Counts what a published model costs."""
    from casvit_mm.benchmark.flops import count
    from casvit_mm.commands.toolbox import load_toolbox
    from casvit_mm.config.read import load_config

    cfg = load_config(config_path(weights.config))
    load_toolbox(cfg)
    (_, parameters, flops), *_ = count(cfg, *_shape(weights))[0]
    return Costs(flops, parameters)


def _metafile(folder: str, costs: Mapping[str, Costs]) -> str:
    families = [family for family in FAMILIES.values() if family.folder == folder]
    models = [each for each in PUBLISHED_WEIGHTS.values() if FAMILIES[each.task] in families]
    return _text(
        {
            'Collections': [_collection(family) for family in families],
            'Models': [_model(weights, costs[weights.config]) for weights in models],
        }
    )


def _collection(family: Family) -> dict[str, Any]:
    return {
        'Name': family.collection,
        'Metadata': {
            'Training Data': family.data,
            'Architecture': ['Convolutional Additive Self-attention'],
        },
        'Paper': {
            'Title': 'CAS-ViT: Convolutional Additive Self-attention Vision Transformers for '
            'Efficient Mobile Applications',
            'URL': PAPER,
        },
        'Code': CODE,
    }


def _model(weights: PublishedWeights, costs: Costs) -> dict[str, Any]:
    family = FAMILIES[weights.task]
    height, width = _shape(weights)
    return {
        'Name': weights.config,
        'In Collection': family.collection,
        'Metadata': {
            'Training Data': family.data,
            'Input Size': f'{height} x {width}',
            'FLOPs': costs.flops,
            'Parameters': costs.parameters,
        },
        'Results': [_result(figure, family) for figure in weights.figure.split(', ')],
        'Figures': SOURCE,
        'Weights': f'casvit://{weights.name}',
        'Weights Address': weights.address,
        'Config': f'configs/{family.folder}/{weights.config}.py',
    }


def _result(figure: str, family: Family) -> dict[str, Any]:
    metric, _, value = figure.rpartition(' ')
    return {
        'Task': TASK_OF_METRIC.get(metric, family.task),
        'Dataset': family.data,
        'Metrics': {METRICS[metric]: float(value)},
    }


def _shape(weights: PublishedWeights) -> tuple[int, int]:
    if shape := FAMILIES[weights.task].shape:
        return shape
    side = int(weights.dataset.split()[-2])
    return side, side


def _text(content: dict[str, Any]) -> str:
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=100)


def main() -> None:
    """Counts the costs of every published model and writes all files."""
    costs = {}
    for weights in PUBLISHED_WEIGHTS.values():
        costs[weights.config] = count_costs(weights)
        print(f'{weights.config}: {costs[weights.config]}', flush=True)
    for name, text in written_files(costs).items():
        (ROOT / name).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
