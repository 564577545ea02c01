"""Tensors and arrays that do not fit their memory, or crash who computes with them."""

from hostile.parts import (
    call,
    checkpoint,
    data,
    fraction,
    group,
    memory,
    name,
    number,
    numbers,
    tensor,
    text,
    zipped,
)

HUGE = 2**62
MANY = b'(' + b'K\x01' * 400_000 + b't'
HOOKS = call('collections.OrderedDict')


def _weight(*args, **kwargs):
    return zipped(checkpoint(weight=tensor(*args, **kwargs)))


def array(code='f8', shape=None, content=None, state=None, kind='numpy.ndarray', core='numpy.core'):
    """An array as NumPy pickles it."""
    start = call(f'{core}.multiarray._reconstruct', name(kind), group(number(0)), data(b'b'))
    dtype = call('numpy.dtype', text(code), b'\x89', b'\x88') + (state or b'')
    shape = numbers(2) if shape is None else shape
    return start + group(number(1), shape, dtype, b'\x89', content or data(bytes(16))) + b'b'


def _array(*args, **kwargs):
    return zipped(checkpoint(array(*args, **kwargs)))


def dtype_state(order='<', names=b'N', fields=b'N'):
    """BUILD of a type of NumPy."""
    shape = b'N'
    return (
        group(number(3), text(order), shape, names, fields, number(-1), number(-1), number(0))
        + b'b'
    )


def history(values, counts, length=b'K\x05'):
    """A HistoryBuffer of mmengine."""
    steps = name('mmengine.logging.history_buffer.HistoryBuffer') + b')\x81}('
    steps += text('_log_history') + values + text('_count_history') + counts
    return steps + text('max_length') + length + b'ub'


def _hub(log):
    hub = b'}' + text('log_scalars') + b'}' + text('loss') + log + b'ss'
    state = b'}' + text('w') + tensor() + b's'
    return zipped(b'\x80\x02}(' + text('state_dict') + state + text('message_hub') + hub + b'u.')


def _persistent(**changes):
    """A persistent id with one part changed."""
    parts = {
        'kind': text('storage'),
        'owner': name('torch.FloatStorage'),
        'key': text('0'),
        'device': text('cpu'),
        'count': number(4),
    }
    return group(*{**parts, **changes}.values()) + b'Q'


TENSORS = {
    'offset beyond the memory': _weight(offset=1),
    'negative offset': _weight(offset=-1),
    'huge offset': _weight(offset=HUGE),
    'shape beyond the memory': _weight((3, 2)),
    'stride beyond the memory': _weight((2, 2), (4, 1)),
    'negative stride': _weight((2, 2), (-2, 1), 3),
    'negative size': _weight((-2, 2)),
    'product of the shape overflows': _weight((2**32, 2**32), (0, 0)),
    'sum of the strides overflows': _weight((2, 2), (HUGE, HUGE)),
    'stride of zero with 10**12 elements': _weight((10**6, 10**6), (0, 0)),
    'stride of zero with 100 million elements': _weight((10**4, 10**4), (0, 0)),
    'overlapping windows': _weight((2,) * 40, (0,) * 39 + (1,)),
    'no elements, and a huge stride': _weight((0, 2), (HUGE, HUGE)),
    'no elements, and a huge shape': _weight((0, HUGE, HUGE), (0, 0, 0)),
    'no elements, beyond the memory': _weight((0, 2), offset=HUGE),
    '65 dimensions': _weight((1,) * 65, (1,) * 65),
    '400,000 dimensions': _weight(MANY, MANY),
    'strides of another length': _weight((2, 2), (1,)),
    'a shape of text': _weight(group(text('2'), text('2'))),
    'a shape of bools': _weight(b'\x88\x88\x86'),
    'a shape that is a number': _weight(b'K\x04'),
    'no memory': _weight(of=b'N'),
    'memory of another type of object': _weight(of=name('torch.FloatStorage')),
    'more memory than the record has': _weight(of=memory(count=400)),
    'less memory than the record has': _weight((1,), (1,), of=memory(count=1)),
    'huge memory': _weight(of=memory(count=HUGE)),
    'negative memory': _weight(of=memory(count=-4)),
    'memory without a record': _weight(of=memory(key='7')),
    'memory outside of its folder': _weight(of=memory(key='../version', count=0)),
    'memory of a function': _weight(of=memory(storage='torch.load')),
    'memory of a forbidden class': _weight(of=memory(storage='os.FloatStorage')),
    'memory with a part more': _weight(of=memory('0', 4, 'torch.FloatStorage', 'cpu', b'N')),
    'memory of two types': zipped(checkpoint(tensor(of=memory(storage='torch.IntStorage')))),
    'a persistent id of a module': zipped(
        checkpoint(group(text('module'), name('torch.Tensor'), text('a.py'), text('')) + b'Q')
    ),
    'memory whose name is a number': zipped(checkpoint(_persistent(key=b'K\x00'))),
    'memory whose name is bytes': zipped(checkpoint(_persistent(key=data(b'0')))),
    'memory on a device that is a number': zipped(checkpoint(_persistent(device=b'K\x00'))),
    'memory with a size that is true': zipped(checkpoint(_persistent(count=b'\x88'))),
    'memory with a size that is a fraction': zipped(checkpoint(_persistent(count=fraction(4.0)))),
    'memory with a size of 255 bytes': zipped(checkpoint(_persistent(count=number(2**2000)))),
    'memory of another kind': zipped(checkpoint(_persistent(kind=data(b'storage')))),
    'memory of a type of NumPy': zipped(
        checkpoint(_persistent(owner=call('numpy.dtype', text('f4'))))
    ),
    'memory as a list': zipped(checkpoint(b'](' + text('storage') + b'NNNNeQ')),
    'a persistent id that is nothing': zipped(checkpoint(b'NQ')),
    'a persistent id that is empty': zipped(checkpoint(b')Q')),
    'offset of 255 bytes': _weight(offset=2**2000),
    'stride of 255 bytes': _weight((2, 2), (2**2000, 1)),
    'size of 255 bytes': _weight((2**2000, 1)),
    'a persistent id that is text': zipped(checkpoint(text('0') + b'Q')),
    'requires_grad of an integer tensor': zipped(
        checkpoint(weight=tensor(of=memory(storage='torch.IntStorage'), more=b'\x88' + HOOKS))
    ),
    'requires_grad is text': _weight(more=text('yes') + HOOKS),
    'unknown metadata': _weight(more=b'\x89' + HOOKS + b'}' + text('code') + b'\x88s'),
    'metadata is code': _weight(more=b'\x89' + HOOKS + name('os.system')),
    'conjugate of floats': _weight(more=b'\x89' + HOOKS + b'}' + text('conj') + b'\x88s'),
    'a parameter of text': zipped(
        checkpoint(call('torch._utils._rebuild_parameter', text('a'), b'\x88', HOOKS))
    ),
    'a tensor with the type of a function': zipped(
        checkpoint(
            call(
                'torch._utils._rebuild_tensor_v3',
                memory(storage='torch.storage.UntypedStorage', count=16),
                *(number(0), numbers(4), numbers(1), b'\x89', HOOKS, name('os.system')),
            )
        )
    ),
    'quantised tensors': zipped(checkpoint(call('torch._utils._rebuild_qtensor', memory()))),
    'quantised memory': _weight(of=memory(storage='torch.QInt8Storage')),
    'sparse tensors': zipped(checkpoint(call('torch._utils._rebuild_sparse_tensor', b'N', b')'))),
    'meta tensors': zipped(checkpoint(call('torch._utils._rebuild_meta_tensor_no_storage', b'N'))),
    'too few arguments': zipped(checkpoint(call('torch._utils._rebuild_tensor_v2', memory()))),
    'one tensor 900,000 times': zipped(
        b'\x80\x02'
        + memory()
        + b'q\x000'
        + tensor(of=b'h\x00')
        + b'q\x010]('
        + b'h\x01' * 900_000
        + b'e.',
        memories={'0': bytes(16)},
    ),
    'objects over bytes': _array('O8'),
    'objects': _array('|O'),
    'void': _array('V16'),
    'a type of fields': _array('f8', state=dtype_state(names=group(text('a')))),
    'a big-endian type': _array('f8', state=dtype_state('>')),
    'a type of commas': _array('f8,f8'),
    'a type that is a name': _array('object'),
    'text': _array('U4'),
    'bytes': _array('S8'),
    'dates': _array('M8[ns]'),
    'extended floats': _array('f16'),
    'a type with a title': _array('f8', state=dtype_state(fields=b'}' + text('a') + b'Ns')),
    'a type with a shape': _array('(2,)f8'),
    'a huge type': _array('S2147483647'),
    'a state of a type that is text': _array('f8', state=text('abc') + b'b'),
    'a shape beyond the bytes': _array('f8', numbers(3)),
    'a shape that overflows': _array('f8', numbers(2**61, 8)),
    'a negative shape': _array('f8', numbers(-1, -2)),
    'no elements of a huge shape': _array('f8', numbers(0, HUGE), data(b'')),
    'values that are a list': _array('f8', None, b']'),
    'a subclass': _array(kind='numpy.matrix'),
    'a subclass that is code': _array(kind='os.system'),
    'a state twice': zipped(
        checkpoint(array() + group(number(1), numbers(2), b'N', b'\x89', data(b'')) + b'b')
    ),
    'a scalar of objects': zipped(
        checkpoint(
            call('numpy.core.multiarray.scalar', call('numpy.dtype', text('O8')), data(bytes(8)))
        )
    ),
    'a scalar of another size': zipped(
        checkpoint(
            call('numpy.core.multiarray.scalar', call('numpy.dtype', text('f8')), data(bytes(4)))
        )
    ),
    'a buffer beyond its bytes': zipped(
        checkpoint(
            call(
                'numpy._core.numeric._frombuffer',
                *(data(bytes(8)), call('numpy.dtype', text('f8')), numbers(2), text('C')),
            )
        )
    ),
    'a history of two lengths': _hub(history(array(), array('i8', numbers(1), data(bytes(8))))),
    'a history of lists': _hub(history(b']', b']')),
    'a history of matrices': _hub(history(array('f4', numbers(2, 2)), array('f4', numbers(2, 2)))),
    'a history longer than it may be': _hub(history(array(), array(), b'K\x01')),
    'a history with a length of text': _hub(history(array(), array(), text('5'))),
    'a history with arguments': _hub(
        name('mmengine.logging.history_buffer.HistoryBuffer') + group(text('a')) + b'\x81'
    ),
}
