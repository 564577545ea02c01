"""Builds the models to measure, as functions that do the work of a case once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from casvit.tables import channels
from casvit_mm.benchmark.cases import EXPORTED, Case
from casvit_mm.benchmark.peers import build_peer
from casvit_mm.benchmark.reference import Reference
from casvit_mm.config.edit import drop_pretrained
from casvit_mm.config.view import ConfigView
from casvit_mm.deploy import Acceleration, accelerate, fuse
from casvit_mm.models import CASViT
from casvit_mm.models.pyramids.timm_pyramid import require_timm
from casvit_mm.speed.dense_parts import (
    PRECISIONS,
    at_precision,
    compiled,
    dense_parts,
)
from casvit_mm.speed.freed_memory import keep_freed_memory
from casvit_mm.speed.memory_format import to_channels_last
from casvit_mm.speed.training import TrainingSpeed, train_faster

OBJECTS = 8
# Relative difference allowed between the scores of two variants; larger in low precision.
ROUNDING = 1e-4
# What `Acceleration` is told for these variants.
COMPILED: dict[str, bool | str] = {'compiled': True, 'static': 'static'}


@dataclass
class Subject:
    """A model, and functions that run it.

    Attributes:
        model: A model with a ``backbone``, which a variant changes.
        predict: Computes the predictions.
        loss: Computes a scalar that depends on every parameter.
    """

    model: nn.Module
    predict: Callable[[], Any]
    loss: Callable[[], Tensor]


def prepare(case: Case) -> Callable[[], float | None]:
    """Builds the model of a case.

    Args:
        case: The case to measure.

    Returns:
        A function that does the work once, and returns when it is done: the seconds that the
        backbone took in it for inference of a full model on a CPU, else None.
    """
    torch.manual_seed(0)
    image = torch.randn(case.batch_size, 3, case.image_size, case.image_size, device=case.device)
    if case.part == 'mixer':
        mixer, features = _mixer(case)
        return lambda: _infer(lambda: mixer(features), features)
    if case.variant == EXPORTED:
        # The exporter would add to the memory of all other cases.
        from casvit_mm.benchmark.formats.backbone import run_exported

        return run_exported(_to_export(case), image)
    if case.kind == 'peer' and case.mode == 'inference':
        network = _peer(case)
        return lambda: _infer(lambda: network(image), image)
    if case.kind == 'peer':
        return _trained_peer(case, image)
    subject = _full_model(case, image) if case.kind == 'config' else _backbone(case, image)
    change(subject.model, case)
    if case.mode == 'inference':
        # A GPU would have to wait for the backbone, which changes the time of the whole.
        if case.kind == 'config' and not image.is_cuda:
            return _with_time_of_backbone(subject)
        return lambda: _infer(subject.predict, image)
    return lambda: _train(subject, image)


def change(model: nn.Module, case: Case) -> None:
    """Turns a model into the variant of a case, in place."""
    if case.variant == 'reference':
        backbone = model.get_submodule('backbone')
        backbone.forward = Reference(cast(CASViT, backbone)).forward
    elif case.mode == 'inference':
        if case.variant == 'eager':
            to_channels_last(model)
        accelerate(
            model,
            Acceleration(
                fuse=case.variant != 'eager',
                compile=COMPILED.get(case.variant, False),
                precision=case.precision,
                keep_memory=True,
            ),
        )
    else:
        train_faster(
            model,
            TrainingSpeed(
                channels_last=True,
                fold_norms=case.variant != 'eager',
                compile=case.variant == 'compiled',
                keep_memory=True,
            ),
        )
        if case.precision != 'fp32':
            for part in dense_parts(model):
                part.forward = at_precision(part.forward, PRECISIONS[case.precision])


class _Backbone(nn.Module):
    """A model of a backbone only."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone


def _backbone(case: Case, image: Tensor) -> Subject:
    model = _Backbone(_casvit(case))
    model.train(case.mode == 'training').to(case.device)
    return _subject(model, image)


def _subject(model: _Backbone, image: Tensor) -> Subject:
    return Subject(
        model,
        predict=lambda: model.backbone(image),
        loss=lambda: reduce(add, (level.square().mean() for level in model.backbone(image))),
    )


def _casvit(case: Case) -> CASViT:
    return CASViT(case.model, mixer=None if case.mixer is None else dict(type=case.mixer))


def _mixer(case: Case) -> tuple[nn.Module, Tensor]:
    """The token mixer of the first stage, and features for it, in channels last."""
    mixer = first_mixer(_casvit(case)).eval().to(case.device)
    features = first_features(case.model, case.image_size, case.batch_size, case.device)
    mixer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return mixer, features.contiguous(memory_format=torch.channels_last)


def first_mixer(backbone: CASViT) -> nn.Module:
    """The token mixer of the first block."""
    return backbone.get_submodule('stages.0.0.mixer')


def first_features(size: str, side: int, batch: int = 1, device: str = 'cpu') -> Tensor:
    """Features of the size that the first stage has for images.

    Args:
        size: Size of a CAS-ViT.
        side: Side of the square images, in pixels.
        batch: How many they are.
        device: The device.

    Returns:
        Random numbers. Shape: ``(batch, C, side / 4, side / 4)``, rounded up.
    """
    rows = -(-side // 4)
    return torch.randn(batch, channels(size)[0], rows, rows, device=device)


def _to_export(case: Case) -> nn.Module:
    if case.kind == 'backbone':
        return fuse(_casvit(case).eval())
    return _merged(build_peer(case.model))


def _merged(peer: nn.Module) -> nn.Module:
    """A peer with its branches merged, if its authors merge them for inference."""
    require_timm()
    from timm.utils.model import reparameterize_model

    return reparameterize_model(peer)


def _trained_peer(case: Case, image: Tensor) -> Callable[[], None]:
    model = _Backbone(build_peer(case.model))
    model.train().to(case.device)
    train_faster(model, TrainingSpeed(channels_last=True, keep_memory=True))
    subject = _subject(model, image)
    return lambda: _train(subject, image)


def _peer(case: Case) -> Callable[[Tensor], list[Tensor]]:
    model = build_peer(case.model).to(case.device)
    if case.variant != 'reference':
        keep_freed_memory()
        model = _merged(model)
        # Torch's types leave this argument out.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network: Callable[[Tensor], list[Tensor]] = model
    if case.variant == 'static':
        network = compiled(network, dynamic=False, constant_weights=True)
    if case.precision != 'fp32':
        network = at_precision(network, PRECISIONS[case.precision])
    return network


def _full_model(case: Case, image: Tensor) -> Subject:
    """A config's model with random weights that returns the maximum number of detections.

    They are the detections with the highest scores, as in a trained model.
    """
    cfg = Config.fromfile(case.model)
    scope = ConfigView(cfg).scope
    init_default_scope(scope)
    # The reference does not support drop path, and the weights are random.
    drop_pretrained(cfg.model)
    cfg.merge_from_dict({'model.backbone.drop_path_rate': 0.0})
    test_cfg = cfg.model.get('test_cfg') or {}
    for part in (test_cfg, test_cfg.get('rcnn') or {}):
        if 'score_thr' in part:
            part['score_thr'] = 0.0
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.train(case.mode == 'training').to(case.device)
    samples = [ground_truth(scope, case.image_size, case.device) for _ in range(case.batch_size)]
    subject = Subject(
        model,
        predict=lambda: model(image, samples, mode='predict'),
        loss=lambda: model.parse_losses(model(image, samples, mode='loss'))[0],
    )
    if case.mode == 'inference':
        _drop_the_rest(subject, case)
    return subject


def _drop_the_rest(subject: Subject, case: Case) -> None:
    """Raises a detector's threshold to the lowest score of its detections.

    Trained models drop nearly all candidates by their scores. With random weights, any ordinary
    threshold is too high or too low, and the detector would have to sort millions.
    """
    head = getattr(subject.model, 'roi_head', None) or getattr(subject.model, 'bbox_head', None)
    test_cfg = getattr(head, 'test_cfg', None) or {}
    if 'score_thr' not in test_cfg:
        return
    with torch.no_grad():
        lowest = min(float(each.pred_instances.scores.min()) for each in subject.predict())
    rounding = max(ROUNDING, 2 * torch.finfo(PRECISIONS[case.precision]).eps)
    test_cfg['score_thr'] = lowest * (1 - rounding)


def ground_truth(scope: str, side: int, device: str = 'cpu', mask_stride: int = 1) -> Any:
    """Ground truth of a square image: objects and a semantic mask, that mask alone, or a label.

    Args:
        scope: The toolbox whose data sample to build.
        side: Side of the image, in pixels.
        device: Device of the tensors.
        mask_stride: Stride of the semantic mask of a detector.
    """
    meta: dict[str, Any] = dict(scale_factor=(1.0, 1.0), img_id=0, img_path='')
    meta |= dict.fromkeys(
        ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), (side, side)
    )
    rows = side // mask_stride
    labels = torch.zeros(1, rows, rows, dtype=torch.int64, device=device)
    if scope == 'mmseg':
        from mmseg.structures import SegDataSample

        return SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=labels))
    if scope == 'mmpretrain':
        from mmpretrain.structures import DataSample

        return DataSample(metainfo=meta).set_gt_label(0).to(device)
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    corners = torch.arange(OBJECTS, device=device) * side / (2 * OBJECTS)
    boxes = torch.stack([corners, corners, corners + side / 4, corners + side / 3], dim=1)
    masks = torch.zeros(OBJECTS, side, side, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    objects = InstanceData(
        bboxes=boxes,
        labels=torch.zeros(OBJECTS, dtype=torch.int64, device=device),
        masks=BitmapMasks(masks.numpy(), side, side),
    )
    nothing = InstanceData(bboxes=boxes[:0], labels=objects.labels[:0])
    return DetDataSample(
        metainfo=meta,
        gt_instances=objects,
        ignored_instances=nothing,
        gt_sem_seg=PixelData(sem_seg=labels),
    )


def _infer(predict: Callable[[], Any], image: Tensor) -> None:
    with torch.no_grad():
        predict()
    _finish(image)


def _with_time_of_backbone(subject: Subject) -> Callable[[], float]:
    backbone = subject.model.get_submodule('backbone')
    forward: Callable[[Tensor], Any] = backbone.forward
    seconds = 0.0

    def timed(image: Tensor) -> Any:
        nonlocal seconds
        start = time.perf_counter()
        features = forward(image)
        seconds = time.perf_counter() - start
        return features

    backbone.forward = timed

    def call() -> float:
        with torch.no_grad():
            subject.predict()
        return seconds

    return call


def _train(subject: Subject, image: Tensor) -> None:
    subject.loss().backward()
    subject.model.zero_grad(set_to_none=True)
    _finish(image)


def _finish(tensor: Tensor) -> None:
    """Waits for the GPU to finish."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
