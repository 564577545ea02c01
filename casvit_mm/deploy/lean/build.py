"""Chooses the lean form of a model, or says why it has none."""

from typing import Any

from torch import nn

from casvit.errors import UserError
from casvit_mm.deploy.lean.single_stage import LeanSingleStage
from casvit_mm.deploy.lean.two_stage import LeanTwoStage

DENSE_HEADS = (
    *('RetinaHead', 'RetinaSepBNHead'),
    *('RTMDetHead', 'RTMDetSepBNHead', 'RTMDetInsHead', 'RTMDetInsSepBNHead'),
)
"""Heads of single-stage detectors that have a lean form."""
SEGMENTOR_HEADS = (
    *('FPNHead', 'UPerHead', 'SegformerHead', 'FCNHead'),
    *('ASPPHead', 'DepthwiseSeparableASPPHead'),
)
MASK_HEADS = ('FCNMaskHead', 'LightMaskHead')
BOX_HEADS = ('Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead', 'ConvFCBBoxHead', 'BBoxHead')


class UnsupportedModelError(UserError, ValueError):
    """A model has no lean form; the message says which part, and what has one."""


def lean_model(model: Any) -> nn.Module:
    """The lean form of a trained model. It shares the weights, and changes some layers in place.

    Args:
        model: A detector, segmentor or classifier in eval mode, usually fused.

    Raises:
        UnsupportedModelError: It is of another kind.
    """
    if hasattr(model, 'roi_head'):
        _require_two_stage(model)
        return LeanTwoStage(model).eval()
    if hasattr(model, 'bbox_head'):
        _require_kind('bbox_head', model.bbox_head, DENSE_HEADS)
        _require_plain_nms(model.bbox_head.test_cfg)
        return LeanSingleStage(model).eval()
    if hasattr(model, 'decode_head'):
        # mmseg or mmpretrain need not be installed for a detector.
        from casvit_mm.deploy.lean.whole_image import LeanSegmentor

        _require_segmentor(model)
        return LeanSegmentor(model).eval()
    from casvit_mm.deploy.lean.whole_image import LeanClassifier

    return LeanClassifier(model).eval()


def _require_two_stage(model: Any) -> None:
    roi = model.roi_head
    _require_kind('rpn_head', model.rpn_head, ('RPNHead',))
    _require_kind('roi_head', roi, ('StandardRoIHead',))
    _require_kind('roi_head.bbox_head', roi.bbox_head, BOX_HEADS)
    _require_kind('roi_head.bbox_roi_extractor', roi.bbox_roi_extractor, ('SingleRoIExtractor',))
    _require_plain_nms(model.rpn_head.test_cfg)
    _require_plain_nms(roi.test_cfg)
    if roi.with_mask:
        _require_kind('roi_head.mask_head', roi.mask_head, MASK_HEADS)


def _require_segmentor(model: Any) -> None:
    _require_kind('decode_head', model.decode_head, SEGMENTOR_HEADS)
    if model.test_cfg.get('mode', 'whole') != 'whole':
        raise UnsupportedModelError(
            "The model predicts in sliding windows (test_cfg.mode='slide'), which is not exported. "
            'Export it with --cfg-options model.test_cfg.mode=whole, and use tile= when predicting.'
        )
    if model.decode_head.out_channels == 1:
        raise UnsupportedModelError(
            'The model has a single output channel for two classes, which is not exported.'
        )


def _require_kind(name: str, part: Any, kinds: tuple[str, ...]) -> None:
    if type(part).__name__ not in kinds:
        raise UnsupportedModelError(
            f'The {name} of the model is a {type(part).__name__}, which cannot be exported. These '
            f'can: {", ".join(kinds)}.'
        )


def _require_plain_nms(cfg: Any) -> None:
    if (kind := cfg.nms.get('type', 'nms')) != 'nms':
        raise UnsupportedModelError(
            f'The model suppresses overlapping boxes with {kind}, which cannot be exported: set '
            "test_cfg's nms.type to 'nms'."
        )
