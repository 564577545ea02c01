"""Tries one config with a CAS-ViT: it is built, trained for a step, and predicts."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope

from casvit_mm.benchmark.heads.swap import swapped
from casvit_mm.benchmark.heads.table import Head
from casvit_mm.benchmark.subjects import ground_truth
from casvit_mm.config.view import nested, type_name

SIDES = (64, 128, 224, 320, 512)
"""Sides of the square images, in pixels; the first with which a model works is its smallest."""

IMAGES = 2
# Random weights keep all proposals, and each costs as much as one of a trained model.
PROPOSALS = 32
LEARNING_RATE = 1e-4


class TrialError(RuntimeError):
    """A model was built, but does not train or predict; the message says why."""


def try_head(head: Head, size: str) -> dict[str, Any]:
    """Tries a config on images of growing size until it works.

    Args:
        head: The config. Its toolbox has to be imported completely.
        size: Size of the CAS-ViT.

    Returns:
        What the page shows: ``side`` of the smallest image, ``parameters``, types of ``model``,
        ``neck`` and ``heads``, ``out_indices``, ``dilated``, ``changes`` and ``outputs``.

    Raises:
        TrialError: It works with none of the sizes; the message is the reason for the largest.
    """
    cfg, changes = swapped(head, size)
    init_default_scope(head.toolbox)
    # It would list every parameter of every model.
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    reason = ''
    for side in SIDES:
        try:
            parameters, outputs = _run(cfg, head, side)
        # Whatever stops a model is the reason why it does not work.
        except Exception as error:
            reason = f'{type(error).__name__}: {str(error).strip()}'
            continue
        return dict(side=side, parameters=parameters, outputs=outputs, **_facts(cfg, changes))
    raise TrialError(reason)


def _run(cfg: Config, head: Head, side: int) -> tuple[int, list[str]]:
    """Trains a step and predicts; returns the number of parameters and the names of the outputs."""
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(0)
    # Not a plain module: mmengine's models have more methods.
    model: Any = revert_sync_batchnorm(MODELS.build(_prepared(cfg, side)))
    model.init_weights()
    images = [torch.randint(256, (3, side, side), dtype=torch.uint8) for _ in range(IMAGES)]
    with _first_iteration():
        _train(model, images, head, side)
    model.eval()
    with torch.no_grad():
        samples = [ground_truth(head.toolbox, side, mask_stride=head.mask_stride)]
        data = dict(inputs=images[:1], data_samples=samples)
        (found,) = model(**model.data_preprocessor(data, False), mode='predict')
    outputs = sorted(name for name in found.keys() if name.startswith('pred_'))  # noqa: SIM118
    if not outputs:
        raise TrialError('It predicts nothing.')
    if 'masks' in getattr(found, 'pred_instances', ()):
        outputs.append('masks')
    return sum(each.numel() for each in model.parameters()), outputs


def _train(model: Any, images: list[torch.Tensor], head: Head, side: int) -> None:
    model.train()
    stem = model.get_submodule('backbone.stem')
    samples = [ground_truth(head.toolbox, side, mask_stride=head.mask_stride) for _ in images]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    total, _ = model.parse_losses(model(**data, mode='loss'))
    if not total.isfinite():
        raise TrialError(f'The loss is {total.item()}.')
    total.backward()
    # The norms of levels that a head does not read have none; the stem is below all of them.
    gradients = [each.grad for each in model.backbone.parameters() if each.grad is not None]
    if not all(each.isfinite().all() for each in gradients):
        raise TrialError('Gradients of the backbone are not finite.')
    if not any(each.grad is not None and each.grad.any() for each in stem.parameters()):
        raise TrialError('No gradient reaches the stem of the backbone.')
    torch.optim.SGD(model.parameters(), lr=LEARNING_RATE).step()


def _prepared(cfg: Config, side: int) -> Any:
    """The model of a config, for small images and few proposals."""
    model = cfg.model.copy()
    model = type(model)(model.to_dict())
    own = model.data_preprocessor
    # They pad or resize to the images of the recipe.
    if own.get('batch_augments'):
        own['batch_augments'] = None
    if cfg.default_scope == 'mmseg':
        own['size'] = (side, side)
        own.pop('size_divisor', None)
    for part in nested(model):
        if type_name(part) == 'RandomSampler' or ('nms_pre' in part and 'max_per_img' in part):
            for key in ('num', 'max_per_img', 'nms_pre'):
                if key in part:
                    part[key] = min(part[key], PROPOSALS)  # type: ignore[index]
    return model


@contextmanager
def _first_iteration() -> Iterator[None]:
    """Context in which losses that warm up find the number of the iteration, as in a run."""
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', 0)
    hub.update_info('epoch', 0)
    yield


def _facts(cfg: Config, changes: dict[str, Any]) -> dict[str, Any]:
    model = cfg.model
    parts = {**(model.get('roi_head') or {}), **model}
    heads = [
        type_name(each)
        for key, part in parts.items()
        if key.endswith('_head') and key != 'roi_head'
        for each in _listed(part)
    ]
    return dict(
        model=type_name(model),
        neck=[type_name(each) for each in _listed(model.get('neck'))],
        heads=list(dict.fromkeys(heads)),
        out_indices=list(model.backbone.out_indices),
        strides=list(model.backbone.get('strides', ())),
        dilations=list(model.backbone.get('dilations', ())),
        # As Python writes them: JSON has no tuples.
        changes={key: repr(value) for key, value in changes.items() if not _is_of_backbone(key)},
    )


def _listed(part: Any) -> list[Any]:
    """The dicts of a part that is one dict, a list of them, or nothing."""
    listed = part if isinstance(part, (list, tuple)) else [part]
    return [each for each in listed if isinstance(each, dict) and each.get('type')]


def _is_of_backbone(key: str) -> bool:
    return key.startswith('model.backbone.')
