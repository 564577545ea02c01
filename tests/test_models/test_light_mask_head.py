"""The light mask head writes the masks of mmdet's, with matrix products instead of sampling."""

import pytest
import torch

pytest.importorskip('mmdet')
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope

import casvit_mm  # noqa: F401
from casvit_mm.models.light_mask_head import paste

BOXES = torch.tensor(
    [
        [10.0, 5.0, 40.0, 30.0],
        [0.3, 0.7, 60.0, 48.0],  # the whole image
        [-6.2, 20.5, 9.9, 70.1],  # beyond its borders
        [33.3, 12.1, 34.1, 12.9],  # smaller than a pixel
        [25.5, 0.0, 25.5, 20.0],  # without area
        [70.0, 60.0, 90.0, 80.0],  # outside of the image
    ]
)
SIZE = (48, 60)


def test_pasted_masks_are_those_of_sampling():
    torch.manual_seed(0)
    masks = torch.rand(4, 20, 20)
    sampled, _ = _do_paste_mask(masks[:, None], BOXES[:4], *SIZE, skip_empty=False)
    for threshold in (0.3, 0.5, 0.7):
        pasted = paste(masks, BOXES[:4], SIZE, threshold)
        clear = (sampled - threshold).abs() > 1e-5
        assert torch.equal(pasted[clear], (sampled >= threshold)[clear])
        assert pasted.flatten(1).any(1)[:3].all()


def test_boxes_without_pixels_have_empty_masks():
    assert not paste(torch.ones(2, 20, 20), BOXES[4:], SIZE, 0.5).any()
    assert paste(torch.ones(0, 20, 20), BOXES[:0], SIZE, 0.5).shape == (0, *SIZE)


@pytest.mark.parametrize('class_agnostic', [True, False])
def test_predictions_are_those_of_the_standard_head(class_agnostic):
    results = []
    for kind in ('LightMaskHead', 'FCNMaskHead'):
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            head = MODELS.build(
                dict(
                    type=kind,
                    num_convs=1,
                    in_channels=8,
                    conv_out_channels=8,
                    num_classes=3,
                    class_agnostic=class_agnostic,
                    loss_mask=dict(type='CrossEntropyLoss', use_mask=True),
                )
            )
        logits = 20 * torch.randn(3, 1 if class_agnostic else 3, 28, 28)
        boxes = BOXES[:3] * 2
        masks = head._predict_by_feat_single(
            logits,
            boxes,
            torch.tensor([2, 0, 1]),
            dict(ori_shape=SIZE, scale_factor=(2.0, 2.0)),
            ConfigDict(mask_thr_binary=0.5),
            rescale=True,
        )
        results.append((masks, boxes))
    (light, light_boxes), (standard, standard_boxes) = results
    assert light.dtype == standard.dtype == torch.bool
    assert (light != standard).float().mean() < 1e-3
    assert torch.equal(light_boxes, standard_boxes)
    torch.testing.assert_close(light_boxes, BOXES[:3])
