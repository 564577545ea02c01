_base_ = './upernet_casvit-m_160k_ade20k-512x512.py'
# Windows of the training crop size; neighbours overlap by a third.
model = dict(test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(341, 341)))
