_base_ = './casvit_classifier.py'
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.models import classifier_sizes

casvit_sizes = classifier_sizes(pretrained=True)
model = dict(backbone=dict(drop_path_rate=0.0))
