_base_ = './casvit-m_8xb128_in1k.py'
model = _base_.casvit_sizes.t
