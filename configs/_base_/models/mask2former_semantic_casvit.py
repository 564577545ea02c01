_base_ = ['./casvit_segmentor.py', './mask2former_head.py']
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.models import dense_sizes

# The settings of each size: use `model = _base_.casvit_sizes.m`, or another size.
casvit_sizes = dense_sizes(out_indices=(0, 1, 2, 3), decode_head=(0, 1, 2, 3))
num_classes = 150

# mmseg's Mask2Former; its head is built from parts of mmdet.
model = dict(
    data_preprocessor=dict(test_cfg=dict(size_divisor=32)),
    decode_head=dict(
        _delete_=True,
        **_base_.mask2former_head,
        num_classes=num_classes,
        align_corners=False,
        loss_cls=dict(_base_.mask2former_loss_cls, class_weight=[1.0] * num_classes + [0.1]),
        train_cfg=_base_.mask2former_train_cfg,
    ),
)
