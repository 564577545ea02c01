_base_ = './casvit-m_8xb64_in1k-384px.py'
model = _base_.casvit_sizes.s
