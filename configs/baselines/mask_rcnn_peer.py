_base_ = [
    '../_base_/models/mask_rcnn_casvit.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.models import dense_peers

# The settings of each backbone, by its name in timm; docs/baselines.md lists them.
peers = dense_peers(out_indices=(0, 1, 2, 3))
model = peers['resnet50']
