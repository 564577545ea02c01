_base_ = './mask2former_semantic_casvit.py'
model = _base_.casvit_sizes.s
