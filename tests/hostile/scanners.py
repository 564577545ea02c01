"""What scanners of pickles such as fickling look for, and what has got past them."""

import pickle
from pathlib import Path

from hostile.parts import (
    call,
    checkpoint,
    data,
    group,
    legacy,
    mark,
    name,
    stream,
    text,
    write_zip,
    zipped,
)

NAMES = (
    *(
        'pty.spawn',
        'nt.system',
        'commands.getoutput',
        'asyncio.unix_events._UnixSubprocessTransport',
    ),
    *(
        'multiprocessing.util.spawnv_passfds',
        'importlib.util.find_spec',
        'ctypes.util.find_library',
    ),
    *(
        'cProfile.run',
        'profile.Profile.run',
        'trace.Trace.run',
        'bdb.Bdb.run',
        'doctest.debug_script',
    ),
    *('code.InteractiveInterpreter', 'codeop.compile_command', 'runpy.run_path', 'runpy._run_code'),
    *('sys.exit', 'sys.modules', 'signal.signal', 'gc.get_objects', 'inspect.getattr_static'),
    *('builtins.setattr', 'builtins.delattr', 'builtins.hasattr', 'builtins.breakpoint'),
    *(
        'builtins.input',
        'builtins.filter',
        'builtins.locals',
        'builtins.memoryview',
        'builtins.super',
    ),
    *('types.ModuleType', 'types.MethodType', 'types.SimpleNamespace', 'weakref.finalize'),
    *(
        '_io.FileIO',
        '_pickle.loads',
        '_pickle.Unpickler',
        'cPickle.loads',
        'dill.loads',
        'joblib.load',
    ),
    *('cloudpickle.loads', 'shelve.open', 'sqlite3.connect', 'zipimport.zipimporter', 'dbm.open'),
    *('_operator.attrgetter', 'operator.itemgetter', 'functools.reduce', 'itertools.starmap'),
    *('ensurepip._run_pip', 'pip._internal.main', 'venv.create', 'distutils.spawn.spawn'),
    *('lib2to3.pgen2.grammar.Grammar.loads', 'idlelib.autocomplete.AutoComplete.fetch_completions'),
    *('urllib.request.urlopen', 'http.client.HTTPSConnection', 'ftplib.FTP', 'smtplib.SMTP'),
    *(
        'socket.socket',
        'ssl.create_default_context',
        'xmlrpc.client.ServerProxy',
        'telnetlib.Telnet',
    ),
    *(
        'numpy.f2py.crackfortran.getlincoef',
        'numpy.lib.npyio.load',
        'numpy.memmap',
        'numpy.fromfile',
    ),
    *(
        'torch.serialization.load',
        'torch.utils.cpp_extension.load_inline',
        'torch.classes.load_library',
    ),
    *('torch.jit.unsupported_tensor_ops.execWrapper', 'torch._dynamo.guards.GuardBuilder.get'),
    *('torch.utils._config_module.ConfigModule.load_config', 'torch.package.PackageImporter'),
    *(
        'torch._inductor.codecache.compile_file',
        'torch.multiprocessing.spawn',
        'torch.ops.load_library',
    ),
    *('torch.storage.UntypedStorage.from_file', 'torch.utils.bottleneck.__main__.run_cprofile'),
    *(
        'mmengine.fileio.load',
        'mmengine.Config.fromfile',
        'mmengine.utils.package_utils.install_package',
    ),
    *('mmcv.imread', 'cv2.imwrite', 'PIL.ImageShow.show', 'yaml.unsafe_load', 'pandas.read_pickle'),
)
PROTOCOLS = range(6)


class _Shell:
    """Pickled by Python itself as a call of os.system."""

    def __init__(self, path):
        self.command = f'touch {mark(path)}'

    def __reduce__(self):
        import os

        return os.system, (self.command,)


def _pickled(protocol):
    def make(path):
        write_zip(path, pickle.dumps({'state_dict': _Shell(path)}, protocol))

    return make


def _pickled_in_stream(protocol):
    def make(path):
        Path(path).write_bytes(stream(pickle.dumps({'state_dict': _Shell(path)}, protocol)))

    return make


def _laughs(repeat):
    """Ten layers of lists, each with the one below it ten times."""
    return b'(' * 10 + text('lol') + (repeat * 9 + b'l') * 10


def _remembered_laughs():
    steps = b'(' * 10 + text('lol')
    for layer in range(10):
        steps += b'q' + bytes([layer]) + (b'h' + bytes([layer])) * 9 + b'l'
    return steps


def _function_of_bytes(path):
    code = call('marshal.loads', data(b'\xe3'))
    write_zip(path, checkpoint(name('types.FunctionType') + group(code, b'}') + b'R)R'))


SCANNERS = {
    **{f'calls {each}': zipped(checkpoint(call(each, text('1')))) for each in NAMES},
    **{f'protocol {each}': _pickled(each) for each in PROTOCOLS},
    **{f'protocol {each} in a legacy file': _pickled_in_stream(each) for each in PROTOCOLS},
    'a function made of bytes': _function_of_bytes,
    'a method of a library': zipped(
        checkpoint(call('builtins.getattr', call('ctypes.CDLL', text('libc.so.6')), text('system')))
    ),
    'a method of an imported module': zipped(
        checkpoint(
            call('builtins.getattr', call('importlib.import_module', text('os')), text('system'))
        )
    ),
    'a call whose result gets a state of text': zipped(
        checkpoint(call('pty.spawn', text('id')) + text('gottem') + b'b')
    ),
    'a call that is dropped': zipped(checkpoint(call('os.system', text('id')) + b'0N')),
    'a call that is remembered and dropped': zipped(
        checkpoint(call('os.system', text('id')) + b'q\x050N')
    ),
    'a call in a persistent id': zipped(checkpoint(call('os.system', text('id')) + b'Q')),
    'a call in a memory': zipped(
        checkpoint(
            weight=group(text('storage'), call('os.system', text('id')), text('0'), text('cpu'))
            + b'Q'
        )
    ),
    'a call as a key': zipped(checkpoint(b'}' + call('os.getcwd') + b'Ns')),
    'an exception with a state': zipped(
        checkpoint(call('builtins.Exception') + b'}' + text('args') + b')sb')
    ),
    'an operator on a class': zipped(
        checkpoint(call('operator.setitem', name('builtins.dict'), text('a'), b'N'))
    ),
    'a list copied ten times by DUP': zipped(checkpoint(_laughs(b'2'))),
    'a list copied ten times by the memo': zipped(checkpoint(_remembered_laughs())),
    'the same in a legacy file': lambda path: Path(path).write_bytes(
        stream(legacy(checkpoint(_remembered_laughs())))
    ),
}
