_base_ = [
    '../_base_/models/semantic_fpn_casvit.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/segmentation_runtime.py',
]
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.models import dense_peers

# The settings of each backbone, by its name in timm; docs/baselines.md lists them.
peers = dense_peers(out_indices=(0, 1, 2, 3))
model = peers['resnet50']
