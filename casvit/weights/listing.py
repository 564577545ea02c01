"""Lists the published weights: their figures, and which of them are on this machine."""

from collections.abc import Iterator
from itertools import groupby

from casvit.tables import PUBLISHED_WEIGHTS, PublishedWeights
from casvit.terminal.program import command
from casvit.weights.find import FOLDER_VARIABLE, SCHEME, find_weights, weights_folder

TASK_NAMES = {
    'classification': 'classification',
    'detection': 'object detection',
    'instance': 'instance segmentation',
    'semantic': 'semantic segmentation',
}


def listed() -> Iterator[str]:
    """The lines of ``casvit weights``."""
    names = max(map(len, PUBLISHED_WEIGHTS))
    figures = max(len(weights.figure) for weights in PUBLISHED_WEIGHTS.values())
    yield 'Weights that the authors publish. Accuracy: as published, not measured here.'
    for (task, dataset), group in groupby(
        PUBLISHED_WEIGHTS.values(), lambda weights: (weights.task, weights.dataset)
    ):
        yield ''
        yield f'{TASK_NAMES[task]}, {dataset}'
        for weights in group:
            yield f'  {weights.name:<{names}}  {weights.figure:<{figures}}  {_place(weights)}'
    yield ''
    yield f'`casvit weights get NAME` downloads one into {weights_folder()} (${FOLDER_VARIABLE},'
    yield f'else ./checkpoints). {SCHEME}NAME stands for its file wherever a checkpoint is named.'


def commands(weights: PublishedWeights) -> list[str]:
    """The commands that use published weights, complete but for the names of the user's files."""
    path = f'{SCHEME}{weights.name}'
    # A classifier's weights are those of a backbone for every task.
    task = 'detection' if weights.task == 'classification' else weights.task
    return [
        command('image_demo', 'IMAGE.jpg', weights.config, path),
        command('finetune', 'DATA', '--task', task, '--size', weights.size, '--checkpoint', path),
    ]


def _place(weights: PublishedWeights) -> str:
    file = find_weights(weights)
    return 'not downloaded' if file is None else f'{file} ({file.stat().st_size / 1e6:.1f} MB)'
