"""The rooms of the code base: imports point one way."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / 'casvit_mm'
MAY_IMPORT = {
    'models': {'models'},
    'deploy': {'models', 'deploy'},
    'engine': {'models', 'engine'},
    'datasets': {'models', 'datasets'},
    'report': {'models', 'deploy', 'engine', 'datasets', 'report'},
    'benchmark': {'models', 'deploy', 'engine', 'datasets', 'benchmark'},
    'commands': {'models', 'deploy', 'engine', 'datasets', 'report', 'benchmark', 'commands'},
}
FOUNDATIONS = {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'numpy', 'safetensors'}


def imported(file):
    """Absolute names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{file}: relative import'
            yield node.module


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
                assert name.split('.')[1] in MAY_IMPORT[room], f'{file} imports {name}'


def test_models_import_only_torch_and_openmmlab():
    import sys

    for file in files('models'):
        for name in imported(file):
            top = name.split('.')[0]
            known = (
                top in FOUNDATIONS
                or top in sys.stdlib_module_names
                or top in ('casvit', 'casvit_mm')
            )
            assert known, f'{file} imports {name}'


@pytest.mark.parametrize('file', [*PACKAGE.rglob('*.py')], ids=lambda path: path.name)
def test_no_file_is_long_without_a_reason(file):
    assert len(file.read_text(encoding='utf-8').splitlines()) <= 425


@pytest.mark.parametrize('room', rooms())
def test_nothing_imports_tools_or_tests(room):
    for file in files(room):
        assert not {name.split('.')[0] for name in imported(file)} & {'tools', 'tests'}


def test_every_public_object_of_the_models_says_what_it_is():
    for file in files('models'):
        tree = ast.parse(file.read_text(encoding='utf-8'))
        assert ast.get_docstring(tree), file
        for node in tree.body:
            public = isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name[0] != '_'
            assert not public or ast.get_docstring(node), f'{file}: {node.name}'
