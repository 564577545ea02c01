"""One step of training and a prediction of the configs in ``configs/baselines``, for any peer."""

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData

import casvit_mm  # noqa: F401

HEADS = ('retinanet', 'mask_rcnn', 'semantic_fpn')
# Sides that no stride divides, as a batch of images with different sizes has them.
SIZES = ((70, 90), (61, 83))


def build_with(configs, head, peer):
    """The model of a config with a peer, and narrow heads that take little time."""
    cfg = Config.fromfile(configs / 'baselines' / f'{head}_peer.py')
    cfg.merge_from_dict(dict(model=cfg.peers[peer]))
    cfg.merge_from_dict(
        {
            'retinanet': {'model.bbox_head.stacked_convs': 1},
            'mask_rcnn': {
                'model.roi_head.bbox_head.fc_out_channels': 32,
                'model.roi_head.mask_head.num_convs': 1,
                'model.train_cfg.rcnn.sampler.num': 16,
                'model.train_cfg.rpn_proposal.max_per_img': 16,
                'model.test_cfg.rpn.max_per_img': 16,
            },
            'semantic_fpn': {'model.data_preprocessor.size': (96, 96)},
        }[head]
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return revert_sync_batchnorm(MODELS.build(cfg.model))


def losses_and_predictions(model, head):
    """The loss of a batch of two images, after its backward pass, and predictions for one."""
    samples = [_sample(head, size) for size in SIZES]
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in SIZES]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    loss, _ = model.parse_losses(model.train()(**data, mode='loss'))
    loss.backward()
    with torch.no_grad():
        first = dict(inputs=images[:1], data_samples=[_sample(head, SIZES[0])])
        data = model.eval().data_preprocessor(first, training=False)
        return loss, model(**data, mode='predict')


def _sample(head, size):
    meta = dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
    if head == 'semantic_fpn':
        from mmseg.structures import SegDataSample

        return SegDataSample(
            metainfo=meta, gt_sem_seg=PixelData(data=torch.randint(0, 150, (1, *size)))
        )
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    mask = torch.zeros(1, *size, dtype=torch.uint8)
    mask[0, 10:50, 20:70] = 1
    found = DetDataSample(metainfo=meta)
    found.gt_instances = InstanceData(
        bboxes=torch.tensor([[20.0, 10.0, 70.0, 50.0]]),
        labels=torch.tensor([7]),
        masks=BitmapMasks(mask.numpy(), *size),
    )
    found.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0))
    return found
