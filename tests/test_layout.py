"""The rooms of the code base: imports point one way, and the package casvit stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from casvit.cli.main import COMMANDS

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / 'casvit_mm'
FRONT = REPOSITORY / 'casvit'
MAY_IMPORT = {
    'models': set(),
    'speed': {'models'},
    'deploy': {'models', 'speed'},
    'config': {'models'},
    'datasets': {'models', 'config'},
    'inference': {'models', 'config'},
    'engine': {'models', 'speed', 'deploy', 'config', 'datasets'},
    'finetune': {'models', 'config', 'datasets', 'inference', 'engine'},
    'benchmark': {'models', 'speed', 'deploy', 'config', 'datasets', 'engine'},
    'comparison': {'models', 'config', 'engine', 'benchmark'},
    'report': {'config', 'datasets'},
}
ALL = set(MAY_IMPORT)
MAY_IMPORT['commands'] = ALL
FOUNDATIONS = {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'numpy', 'safetensors'}
# What the base installation brings.
LIGHT = {'numpy', 'PIL', 'pycocotools', 'tqdm'}
HEAVY = {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'casvit_mm'}


def imports(tree):
    """Absolute names of the modules that the nodes of a tree import."""
    for node in tree:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'relative import'
            yield node.module


def imported(file):
    """Absolute names of the modules that a file imports, wherever in it."""
    yield from imports(ast.walk(ast.parse(file.read_text(encoding='utf-8'))))


def imported_at_once(file):
    """Those that are imported with the file, not when one of its functions is called."""
    waiting = list(ast.parse(file.read_text(encoding='utf-8')).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING':
            continue
        yield from imports([node])
        waiting += ast.iter_child_nodes(node)


def files(room):
    return sorted((PACKAGE / room).rglob('*.py'))


def rooms():
    return sorted(folder.name for folder in PACKAGE.iterdir() if (folder / '__init__.py').exists())


@pytest.mark.parametrize('room', rooms())
def test_a_room_imports_only_rooms_below_it(room):
    assert files(room)
    for file in files(room):
        for name in imported(file):
            if name.startswith('casvit_mm.') and name != 'casvit_mm.registration':
                assert name.split('.')[1] in {room, *MAY_IMPORT[room]}, f'{file} imports {name}'


@pytest.mark.parametrize('room', sorted(ALL))
def test_only_commands_know_the_command_line(room):
    for file in files(room):
        assert not any(name.startswith('casvit.cli') for name in imported(file)), file


def test_models_import_only_torch_and_openmmlab():
    for file in files('models'):
        for name in imported(file):
            top = name.split('.')[0]
            own = top in ('casvit', 'casvit_mm')
            known = own or top in FOUNDATIONS or top in sys.stdlib_module_names
            assert known, f'{file} imports {name}'


@pytest.mark.parametrize('file', [*FRONT.rglob('*.py')], ids=lambda path: path.name)
def test_casvit_imports_light_packages_alone_outside_its_functions(file):
    for name in imported_at_once(file):
        top = name.split('.')[0]
        assert top == 'casvit' or top in LIGHT or top in sys.stdlib_module_names, name


def test_only_commands_and_backends_of_casvit_import_casvit_mm():
    for file in FRONT.rglob('*.py'):
        if file.parent.name not in ('cli', 'backends'):
            assert not any(name.split('.')[0] in HEAVY for name in imported(file)), file


def test_every_module_of_casvit_leaves_torch_and_openmmlab_alone():
    modules = [
        '.'.join(file.relative_to(REPOSITORY).with_suffix('').parts).removesuffix('.__init__')
        for file in FRONT.rglob('*.py')
        if file.name != '__main__.py'
    ]
    code = f'import importlib, sys\nfor m in {modules}: importlib.import_module(m)\n'
    code += f'print(sorted({HEAVY | {"cv2", "supervision"}} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize(
    'file', [*PACKAGE.rglob('*.py'), *FRONT.rglob('*.py')], ids=lambda path: path.name
)
def test_no_file_is_long_without_a_reason(file):
    assert len(file.read_text(encoding='utf-8').splitlines()) <= 425


@pytest.mark.parametrize(
    'folder',
    sorted({file.parent for file in [*PACKAGE.rglob('*.py'), *FRONT.rglob('*.py')]}),
    ids=lambda path: path.relative_to(REPOSITORY).as_posix(),
)
def test_no_folder_is_a_hall(folder):
    # A folder of commands has a module for each command.
    commands = len(COMMANDS) if folder.name in ('cli', 'commands') else 0
    assert len([*folder.glob('*.py')]) - commands <= 15


@pytest.mark.parametrize('room', rooms())
def test_nothing_imports_tools_or_tests(room):
    for file in [*files(room), *FRONT.rglob('*.py')]:
        assert not {name.split('.')[0] for name in imported(file)} & {'tools', 'tests'}


@pytest.mark.parametrize(
    'file',
    [*files('models'), *FRONT.rglob('*.py')],
    ids=lambda path: f'{path.parent.name}.{path.stem}',
)
def test_every_public_object_of_the_models_and_of_casvit_says_what_it_is(file):
    tree = ast.parse(file.read_text(encoding='utf-8'))
    assert ast.get_docstring(tree), file
    for node in tree.body:
        public = isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name[0] != '_'
        assert not public or ast.get_docstring(node), f'{file}: {node.name}'
