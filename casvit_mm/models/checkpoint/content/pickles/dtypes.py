"""The types of tensors and of their memory that files name."""

import torch

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *('float64', 'float32', 'float16', 'bfloat16'),
        *('uint8', 'int8', 'int16', 'int32', 'int64', 'uint16', 'uint32', 'uint64', 'bool'),
        *('complex32', 'complex64', 'complex128'),
        *('float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz', 'float8_e5m2fnuz', 'float8_e8m0fnu'),
    )
    # Older versions lack some.
    if hasattr(torch, name)
}
"""By the name that torch writes."""

STORAGES: dict[str, torch.dtype] = {
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
    'ComplexDoubleStorage': torch.complex128,
    'ComplexFloatStorage': torch.complex64,
    'UntypedStorage': torch.uint8,
}
"""Type of the elements, by the class of the memory; memory without a type is counted in bytes."""

QUANTISED = ('QInt8Storage', 'QUInt8Storage', 'QInt32Storage', 'QUInt4x2Storage', 'QUInt2x4Storage')
"""Classes of the memory of quantised tensors."""
