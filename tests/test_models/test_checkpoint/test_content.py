"""What the reader of checkpoints gives, compared with torch.load on files that torch wrote."""

import argparse
import collections
import contextlib
import gc
import struct
import warnings
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch
from hostile import parts
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim.scheduler import OneCycleParamScheduler
from mmengine.runner import save_checkpoint
from safetensors.torch import save_file
from torch import nn

from casvit_mm.models import CheckpointError, read_checkpoint
from casvit_mm.models.checkpoint.content import Name, Record, read_content, restored
from casvit_mm.models.checkpoint.content.pickles.dtypes import DTYPES

CONTAINERS = {'zip': {}, 'legacy': {'_use_new_zipfile_serialization': False}}


@pytest.fixture(params=CONTAINERS)
def container(request):
    return CONTAINERS[request.param]


@pytest.fixture
def both(tmp_path, container):
    """What the reader and torch.load give for what torch.save wrote."""

    def read(content, protocol=2):
        path = tmp_path / 'weights.pth'
        torch.save(content, path, pickle_protocol=protocol, **container)
        return read_content(path, 'weights.pth'), oracle.loaded(path, protocol)

    return read


def same(left, right):
    """Whether two values have the same types, values, shapes and strides."""
    if isinstance(right, torch.Tensor):
        return (
            (type(left), left.dtype, left.shape) == (type(right), right.dtype, right.shape)
            and left.stride() == right.stride()
            and left.storage_offset() == right.storage_offset()
            and left.requires_grad == right.requires_grad
            and left.is_conj() == right.is_conj()
            and bytes(left.untyped_storage()) == bytes(right.untyped_storage())
        )
    if isinstance(right, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in right)
    if isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@pytest.mark.parametrize('dtype', DTYPES)
def test_tensors_of_every_type_are_those_of_torch(dtype, both):
    kind = DTYPES[dtype]
    raw = torch.randint(0, 2 if dtype == 'bool' else 100, (48,), dtype=torch.uint8)
    tensor = raw.view(kind) if dtype != 'bool' else raw.bool()
    content = {'whole': tensor, 'part': tensor[1:3], 'one': tensor[0], 'none': tensor[:0]}
    try:
        left, right = both(content)
    except (KeyError, AttributeError, RuntimeError) as error:
        pytest.skip(f'this version of torch does not save it: {error}')
    assert same(left, right)


VIEWS = {
    'transposed': lambda: torch.rand(3, 4).t(),
    'every second': lambda: torch.rand(10)[1::2],
    'channels last': lambda: torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    'expanded': lambda: torch.rand(3, 1).expand(3, 1000),
    'windows': lambda: torch.rand(10).unfold(0, 4, 1),
    'a number': lambda: torch.tensor(3.5),
    'empty': lambda: torch.empty(0, 3),
    'no dimension of its own': lambda: torch.rand(1, 1, 1),
    'conjugate': lambda: torch.rand(2, 2, dtype=torch.complex64).conj(),
    'imaginary part of a conjugate': lambda: torch.rand(2, dtype=torch.complex64).conj().imag,
    'needs a gradient': lambda: torch.rand(3, requires_grad=True),
    'a parameter': lambda: nn.Parameter(torch.rand(3)),
    'a frozen parameter': lambda: nn.Parameter(torch.rand(3), requires_grad=False),
    'a buffer of integers': lambda: nn.Parameter(torch.arange(3), requires_grad=False),
}


@pytest.mark.parametrize('view', VIEWS)
def test_views_keep_their_strides_and_memory(view, both):
    assert same(*both({'a': VIEWS[view]()}))


def test_a_parameter_with_attributes_is_a_parameter(both):
    parameter = nn.Parameter(torch.rand(3))
    parameter.note = 'mine'
    left, _ = both({'a': parameter})
    assert isinstance(left['a'], nn.Parameter)
    assert torch.equal(left['a'], parameter)


def test_tensors_that_share_memory_still_do(both):
    memory = torch.rand(100)
    left, _ = both({'a': memory, 'b': memory[10:20], 'c': memory.view(10, 10).t(), 'd': memory})
    left['a'][15] = 7
    assert left['b'][5] == 7 and left['c'][5, 1] == 7
    assert left['a'] is left['d']


def test_memory_alone_is_read(both):
    left, right = both({'memory': torch.rand(4)._typed_storage()})
    assert list(left['memory']) == list(right['memory'])
    assert left['memory'].dtype == right['memory'].dtype


PLAIN = {
    'none': None,
    'bools': (True, False),
    'integers': [0, 1, 255, 256, 65_536, -1, -(2**31), 2**31, 2**63, -(2**100)],
    'floats': [0.1, -0.0, float('inf'), 1e300],
    'text': ['', 'a', 'ä€😀', 'a' * 300, 'a\nb'],
    'bytes': [b'', b'\x00\xff', b'a' * 300, bytearray(b'abc'), bytearray()],
    'tuples': ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    'sets': [set(), {1, 'a', None, 2.5}, frozenset(), frozenset({1, (2, 'a')})],
    'keys': {1: 'a', 'b': 2, None: 3, 2.5: 4, (1, 'a'): 5, b'c': 6},
    'counter': collections.Counter('abca'),
    'complex': 1 + 2j,
    'size': torch.Size([1, 2]),
    'device': torch.device('cuda', 1),
    'dtypes': [torch.float32, torch.bfloat16],
    'arrays': [
        np.arange(6.0).reshape(2, 3),
        np.arange(6).reshape(2, 3).T,
        np.zeros((0, 3), np.float32),
        np.array(3, np.int16),
        np.array([True, False]),
        np.array([1 + 2j]),
    ],
    'numbers': [np.float64(1.5), np.int64(-3), np.float32(2), np.bool_(True)],
    'slice': slice(1, None, 2),
}


@pytest.mark.parametrize('protocol', [1, 2, 3, 4, 5])
@pytest.mark.parametrize('name', PLAIN)
def test_plain_data_of_every_protocol_are_those_of_torch(name, protocol, both):
    left, right = both({'value': PLAIN[name], 'again': [PLAIN[name]]}, protocol)
    expected = tuple(right['value']) if name == 'size' else right['value']
    assert same(left['value'], expected)
    assert same(left['again'], [expected])


def test_other_containers_become_plain_ones(both):
    ordered = collections.OrderedDict(b=1, a=2)
    ordered._metadata = {'': {'version': 2}}
    default = collections.defaultdict(list, {'a': [1]})
    # With protocol 2, torch's restricted unpickler is asked, which takes none of the others.
    left, _ = both([ordered, default, collections.deque([1, 2], 5)], protocol=3)
    assert left == [{'b': 1, 'a': 2}, {'a': [1]}, [1, 2]]
    assert list(left[0]) == ['b', 'a']
    assert [type(each) for each in left] == [dict, dict, list]


@pytest.mark.parametrize('protocol', [1, 2, 4])
def test_a_published_file_gives_a_record_in_place_of_its_arguments(protocol, both):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.rand(1, 3, 2, 2)).sum().backward()
    optimizer.step()
    content = {
        'model': model.state_dict(),
        'model_ema': {key: value.clone() for key, value in model.state_dict().items()},
        'optimizer': optimizer.state_dict(),
        'epoch': 3,
        'args': argparse.Namespace(lr=6e-3, opt_betas=None, finetune=''),
    }
    left, right = both(content, protocol)
    arguments = left.pop('args')
    assert isinstance(arguments, Record) and arguments.name == 'argparse.Namespace'
    assert arguments.state == vars(right.pop('args'))
    assert same(left, right)


@pytest.mark.skipif(not oracle.HAS_STAND_INS, reason='needs torch.serialization.safe_globals')
def test_a_history_is_that_of_torch_with_inert_classes(both):
    left, right = both({'loss': HistoryBuffer([1.0, 0.5], [1, 2], 5)})
    assert isinstance(right['loss'], oracle.HistoryBuffer)
    state, expected = left['loss'].state, vars(right['loss'])
    methods, names = state.pop('statistics_methods'), expected.pop('statistics_methods')
    assert {key: method.full.split('.')[-2:] for key, method in methods.items()} == {
        key: name.split('.') for key, name in names.items()
    }
    assert same(state, expected)


@pytest.mark.parametrize('protocol', [1, 2, 4])
def test_the_training_state_of_mmengine_is_restored(protocol, tmp_path, container):
    hub = MessageHub.get_instance(f'content{protocol}{len(container)}')
    for step in range(30):
        hub.update_scalar('train/loss', 1 / (1 + step))
        hub.update_scalar('train/lr', 0.1, 2)
    hub.update_info('epoch', 3)
    layer = nn.Linear(2, 2)
    schedule = OneCycleParamScheduler(
        torch.optim.SGD(layer.parameters(), lr=0.1), 'lr', eta_max=1.0, total_steps=5
    )
    content = {
        'state_dict': layer.state_dict(),
        'message_hub': hub.state_dict(),
        'param_schedulers': [schedule.state_dict()],
        'meta': {'epoch': 3},
    }
    path = tmp_path / 'epoch_3.pth'
    torch.save(content, path, pickle_protocol=protocol, **container)
    read = read_checkpoint(path)
    for name, history in content['message_hub']['log_scalars'].items():
        again = read['message_hub']['log_scalars'][name]
        assert isinstance(again, HistoryBuffer)
        assert all(map(np.array_equal, again.data, history.data))
        assert again.max_length == history.max_length
        assert again.statistics('mean') == history.mean()
    assert read['message_hub']['runtime_info'] == {'epoch': 3}
    assert read['param_schedulers'] == content['param_schedulers']
    fresh = MessageHub.get_instance(f'fresh{protocol}{len(container)}')
    fresh.load_state_dict(read['message_hub'])
    assert fresh.get_scalar('train/loss').current() == pytest.approx(1 / 30)


def test_a_file_of_mmengines_own_function_is_read(tmp_path):
    weights = nn.Linear(3, 2).state_dict()
    save_checkpoint({'state_dict': weights, 'meta': {'epoch': 1}}, str(tmp_path / 'a.pth'))
    read = read_checkpoint(tmp_path / 'a.pth')
    assert same(read['state_dict'], dict(weights))


def test_a_record_of_something_else_stays_inert():
    state = {'args': Record('argparse.Namespace'), 'f': Name('numpy.ndarray'), 'n': [1, (2,)]}
    assert restored(state) == state


def test_memory_with_views_of_an_old_file_is_read(tmp_path):
    def view(key, start, count):
        return parts.group(parts.text(key), parts.number(start), parts.number(count))

    def whole(part):
        return parts.memory('0', 4, 'torch.FloatStorage', 'cpu', part)

    pickled = b'\x80\x02](' + parts.tensor((2,), (1,), of=whole(view('v', 1, 3)))
    pickled += parts.tensor((2,), (1,), 1, of=whole(view('v', 1, 3)))
    pickled += parts.tensor((4,), (1,), of=whole(b'N')) + b'e.'
    path = tmp_path / 'old.pth'
    parts.streamed(pickled)(path)
    for read in (read_content(path, ''), torch.load(path, weights_only=True)):
        assert [each.tolist() for each in read] == [[2, 3], [3, 4], [1, 2, 3, 4]]
    ours = read_content(path, '')
    ours[2][2] = 9
    assert ours[0][1] == 9 and ours[1][0] == 9


@pytest.mark.parametrize('suffix', ['.pth', '.pt', '.safetensors', ''])
def test_the_format_is_recognised_by_the_content_whatever_the_suffix(suffix, tmp_path):
    weights = {'w': torch.rand(3, 2)}
    path = tmp_path / f'weights{suffix}'
    for write in (
        lambda: torch.save(weights, path),
        lambda: torch.save(weights, path, _use_new_zipfile_serialization=False),
        lambda: save_file(weights, path, metadata={'epoch': '3'}),
    ):
        write()
        assert torch.equal(read_checkpoint(path)['state_dict']['w'], weights['w'])


@pytest.mark.parametrize('location', ['meta', torch.device('meta'), {'cpu': 'meta'}, None])
def test_tensors_are_put_where_map_location_says(location, tmp_path, container):
    weight = torch.rand(4, requires_grad=True)
    torch.save({'a': weight, 'b': weight.detach()[1:]}, tmp_path / 'a.pth', **container)
    read = read_content(tmp_path / 'a.pth', '', location)
    assert read['a'].device.type == ('cpu' if location is None else 'meta')
    assert read['b'].shape == (3,) and read['a'].requires_grad


def test_map_location_may_be_a_function(tmp_path, container):
    seen = []
    torch.save({'a': torch.rand(4)}, tmp_path / 'a.pth', **container)

    def place(storage, location):
        seen.append((storage.nbytes(), location))
        return storage

    expected = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert same(read_content(tmp_path / 'a.pth', '', place), expected)
    assert seen == [(16, 'cpu')]
    assert same(read_content(tmp_path / 'a.pth', '', lambda *_: None), expected)


@pytest.mark.parametrize('kind', ['quantised', 'sparse', 'meta'])
def test_other_kinds_of_tensors_are_refused_by_name(kind, tmp_path, container):
    tensor = {
        'quantised': lambda: torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8),
        'sparse': lambda: torch.eye(3).to_sparse(),
        'meta': lambda: torch.empty(3, device='meta'),
    }[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.save({'a': tensor}, tmp_path / 'a.pth', **container)
    with pytest.raises(CheckpointError, match=f'{kind}|without values'):
        read_checkpoint(tmp_path / 'a.pth')


def test_a_program_of_torchscript_is_refused_and_does_not_run(tmp_path):
    with contextlib.suppress(DeprecationWarning):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'TorchScript.*torch\.save\(model\.state_dict'):
        read_checkpoint(tmp_path / 'a.pth')


def test_a_changed_bit_anywhere_in_the_weights_is_noticed(tmp_path):
    torch.save({'w': torch.zeros(1000)}, tmp_path / 'a.pth')
    content = bytearray((tmp_path / 'a.pth').read_bytes())
    content[content.index(bytes(4000)) + 2000] ^= 1
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match='CRC'):
        read_checkpoint(tmp_path / 'a.pth')


def test_an_object_in_itself_is_refused(tmp_path, container):
    loop = []
    loop.append(loop)
    torch.save({'w': torch.zeros(1), 'loop': loop}, tmp_path / 'a.pth', **container)
    with pytest.raises(CheckpointError, match='contains itself'):
        read_checkpoint(tmp_path / 'a.pth')


def test_reading_does_not_change_how_python_collects_garbage(tmp_path):
    torch.save({'w': torch.zeros(1)}, tmp_path / 'a.pth')
    read_checkpoint(tmp_path / 'a.pth')
    assert gc.isenabled()
    gc.disable()
    try:
        read_checkpoint(tmp_path / 'a.pth')
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_reading_takes_the_memory_of_the_weights_once(tmp_path):
    def peak():
        status = Path('/proc/self/status').read_text()
        return int(status.split('VmHWM:')[1].split()[0]) / 1024

    torch.save({'w': torch.zeros(50 * 2**18), 'v': torch.zeros(50 * 2**18)}, tmp_path / 'a.pth')
    Path('/proc/self/clear_refs').write_text('5')
    before = peak()
    read_checkpoint(tmp_path / 'a.pth')
    assert peak() - before < 130


def test_numbers_of_an_old_file_on_a_big_endian_machine_are_refused(tmp_path):
    parts.streamed(parts.legacy(parts.checkpoint()), little=False)(tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='big-endian machine'):
        read_checkpoint(tmp_path / 'a.pth')
    assert struct.calcsize('<4f') == len(parts.FLOATS)
