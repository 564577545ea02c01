"""Pickles that name functions, classes and objects which do not belong in a checkpoint."""

from pathlib import Path

from hostile.parts import (
    MODULE,
    call,
    checkpoint,
    data,
    group,
    legacy,
    mark,
    name,
    number,
    stream,
    tensor,
    text,
    write_zip,
    zipped,
)


def _shell(path):
    return text(f'touch {mark(path)}')


def _python(path):
    return text(f'open({str(mark(path))!r}, "w")')


def _path(path):
    return text(str(mark(path)))


CALLS = {
    'os.system': _shell,
    'posix.system': _shell,
    'os.popen': _shell,
    'subprocess.getoutput': _shell,
    'subprocess.check_output': lambda path: group(text('touch'), _path(path)),
    'subprocess.Popen': lambda path: group(text('touch'), _path(path)),
    'torch.utils.collect_env.run': _shell,
    'builtins.eval': _python,
    'builtins.exec': _python,
    'builtins.compile': _python,
    'builtins.print': _python,
    'builtins.__import__': lambda path: text(MODULE),
    'builtins.open': lambda path: _path(path) + text('w'),
    'builtins.type': _path,
    'builtins.vars': lambda path: name('argparse.Namespace'),
    'builtins.map': _path,
    'builtins.globals': lambda path: b'',
    'importlib.import_module': lambda path: text(MODULE),
    'pydoc.locate': lambda path: text(MODULE),
    'pkgutil.resolve_name': lambda path: text(MODULE),
    'runpy.run_module': lambda path: text(MODULE),
    f'{MODULE}.run': lambda path: b'',
    'os.mkdir': _path,
    'os.mkfifo': _path,
    'os.remove': _path,
    'shutil.rmtree': _path,
    'pathlib.Path': _path,
    'pathlib.PosixPath': _path,
    'io.open': lambda path: _path(path) + text('w'),
    'numpy.load': _path,
    'numpy.save': lambda path: _path(path) + b'K\x01',
    'numpy.testing._private.utils.runstring': lambda path: _python(path) + b'}',
    'torch.load': _path,
    'torch.jit.load': _path,
    'torch.hub.load': _path,
    'torch.storage._load_from_bytes': lambda path: data(b'cos\nsystem\n.'),
    'torch._utils._import_dotted_name': lambda path: text(MODULE),
    'torch.FloatStorage.from_file': lambda path: _path(path) + b'\x88K\x04',
    'torch.nn.Module': lambda path: b'',
    'torch._tensor._rebuild_from_type_v2': lambda path: name('os.system') + _path(path) + b')N',
    'torch._utils._rebuild_wrapper_subclass': lambda path: name('argparse.Namespace'),
    'torch._utils._rebuild_device_tensor_from_numpy': lambda path: b'NNNN',
    'pickle.loads': lambda path: data(b'cos\nsystem\n.'),
    'marshal.loads': lambda path: data(b'N'),
    'types.FunctionType': lambda path: b'N}',
    'types.CodeType': lambda path: b'',
    'functools.partial': lambda path: name('os.system') + _shell(path),
    'operator.attrgetter': lambda path: text('system'),
    'operator.methodcaller': lambda path: text('system') + _shell(path),
    'socket.create_connection': lambda path: group(text('127.0.0.1'), number(9)),
    'webbrowser.open': _path,
    'ctypes.CDLL': _path,
    'timeit.timeit': _python,
    'logging.config.dictConfig': lambda path: b'}',
    'logging.FileHandler': _path,
    'mmengine.config.Config.fromstring': lambda path: _python(path) + text('.py'),
    'mmengine.config.config.Config._file2dict': _path,
    'mmengine.registry.build_functions.build_from_cfg': lambda path: b'}N',
    'mmengine.fileio.io.load': _path,
    'collections.namedtuple': lambda path: text('a') + text('b'),
    'collections.OrderedDict.fromkeys': lambda path: b')',
    'argparse.Namespace.__init__': lambda path: b'',
    'argparse.FileType': lambda path: text('w'),
    'argparse.sys.exit': lambda path: b'',
    'mmengine.logging.history_buffer.HistoryBuffer.register_statistics': lambda path: name(
        'builtins.set'
    ),
}


def _calling(function, arguments):
    def make(path):
        write_zip(path, checkpoint(call(function, arguments(path))))

    return make


def _in_stream(path):
    Path(path).write_bytes(stream(legacy(checkpoint(call('os.system', _shell(path))))))


def _with(steps):
    """A maker of a zip whose pickle has steps that depend on the path."""
    return lambda path: write_zip(path, checkpoint(steps(path)))


HISTORY = name('mmengine.logging.history_buffer.HistoryBuffer')
ONE_CYCLE = name('mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler')
CODE = {
    **{f'calls {function}': _calling(function, make) for function, make in CALLS.items()},
    'calls os.system in a legacy file': _in_stream,
    'NEWOBJ': _with(lambda path: name('os.system') + group(_shell(path)) + b'\x81'),
    'NEWOBJ_EX': _with(lambda path: name('os.system') + group(_shell(path)) + b'}\x92'),
    'NEWOBJ_EX with keywords': zipped(
        checkpoint(name('argparse.Namespace') + b')}' + text('a') + b'K\x01s\x92')
    ),
    'OBJ': _with(lambda path: b'(' + name('os.system') + _shell(path) + b'o'),
    'OBJ of nothing': zipped(checkpoint(b'(o')),
    'INST': _with(lambda path: b'(' + _shell(path) + b'ios\nsystem\n'),
    'STACK_GLOBAL': _with(
        lambda path: text('os') + text('system') + b'\x93' + group(_shell(path)) + b'R'
    ),
    'STACK_GLOBAL with dots': zipped(checkpoint(text('argparse') + text('_sys.modules') + b'\x93')),
    'STACK_GLOBAL of numbers': zipped(checkpoint(b'K\x01K\x02\x93')),
    'STACK_GLOBAL with a name in a list': zipped(checkpoint(text('os') + b']\x93')),
    'a name alone': zipped(checkpoint(name('os.system'))),
    'a name without a module': zipped(checkpoint(b'c\nsystem\n')),
    'a name with control characters': zipped(checkpoint(b'cos\x1b[2J\nsy\x07stem\n')),
    'a very long name': zipped(checkpoint(b'cos\n' + b'a' * 1_000_000 + b'\n')),
    'a name of Python 2': zipped(checkpoint(call('__builtin__.eval', text('1')))),
    'calls a string': zipped(checkpoint(text('os.system') + group(text('x')) + b'R')),
    'calls an inert class': zipped(checkpoint(call('torch.Tensor', group(number(2))))),
    'calls numpy.ndarray': zipped(checkpoint(call('numpy.ndarray', group(number(2))))),
    'calls with a list of arguments': zipped(checkpoint(name('builtins.set') + b']R')),
    'EXT1': zipped(checkpoint(b'\x82\x01')),
    'EXT2': zipped(checkpoint(b'\x83\x01\x00')),
    'EXT4': zipped(checkpoint(b'\x84\x01\x00\x00\x00')),
    'NEXT_BUFFER': zipped(checkpoint(b'\x97')),
    'READONLY_BUFFER': zipped(checkpoint(data(b'a') + b'\x98')),
    'PERSID': zipped(checkpoint(b'P0\n')),
    'an unknown step': zipped(checkpoint(b'\xff')),
    'protocol 6': zipped(checkpoint(b'\x80\x06N')),
    'BUILD on HistoryBuffer': zipped(checkpoint(HISTORY + b'}' + text('mean') + b'Nsb')),
    'BUILD on Namespace': zipped(
        checkpoint(name('argparse.Namespace') + b'}' + text('__eq__') + b'Nsb')
    ),
    'BUILD on the bases of a scheduler': zipped(
        checkpoint(ONE_CYCLE + b'}' + text('__bases__') + b')sb')
    ),
    'BUILD on a function': zipped(
        checkpoint(name('torch._utils._rebuild_tensor_v2') + b'}' + text('__code__') + b'Nsb')
    ),
    'BUILD on a list': zipped(checkpoint(b']}b')),
    'BUILD on a tensor': zipped(checkpoint(tensor() + b'}b')),
    'BUILD with keys of numbers': zipped(
        checkpoint(name('argparse.Namespace') + b')\x81}K\x01Nsb')
    ),
    'BUILD with a list': zipped(checkpoint(name('argparse.Namespace') + b')\x81]b')),
    'getattr of a private method': zipped(
        checkpoint(call('builtins.getattr', HISTORY, text('__init__')))
    ),
    'getattr of a class': zipped(
        checkpoint(call('builtins.getattr', name('argparse.Namespace'), text('__class__')))
    ),
    'getattr of a string': zipped(checkpoint(call('builtins.getattr', text('a'), text('format')))),
    'getattr of a history': zipped(
        checkpoint(call('builtins.getattr', HISTORY + b')\x81', text('mean')))
    ),
    'a reconstructor of another class': zipped(
        checkpoint(
            call('copyreg._reconstructor', name('builtins.dict'), name('builtins.object'), b'N')
        )
    ),
    'a reconstructor with another base': zipped(
        checkpoint(
            call('copyreg._reconstructor', name('argparse.Namespace'), name('builtins.list'), b']')
        )
    ),
    'bytes in another encoding': zipped(
        checkpoint(call('_codecs.encode', text('abc'), text('rot13')))
    ),
}
