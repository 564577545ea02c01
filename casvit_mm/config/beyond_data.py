"""Lists what a config does beyond naming values, without running it.

A config of OpenMMLab is a Python file: reading it runs it. Here the file and those that it inherits
from are parsed only.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from casvit.errors import CliError
from casvit.names import printable
from casvit.sentences import short

OURS = ('casvit', 'casvit_mm')
# What configs of this package import from it; its modules hold more, such as subprocess.
OUR_NAMES = frozenset(
    (
        *(('casvit', 'channels'), ('casvit', 'config_path')),
        *(('casvit_mm.datasets.shapes', 'objects'), ('casvit_mm.datasets.shapes', 'single')),
        *(
            ('casvit_mm.models', name)
            for name in ('classifier_sizes', 'dense_peers', 'dense_sizes')
        ),
        ('casvit_mm.models', 'require_mmpretrain'),
    )
)
OUR_FUNCTIONS = ('default_root',)
# They make plain values of plain values.
PLAIN = frozenset(
    (
        *('abs', 'bool', 'dict', 'enumerate', 'float', 'frozenset', 'int', 'len', 'list', 'max'),
        *('min', 'pow', 'range', 'reversed', 'round', 'set', 'slice', 'sorted', 'str', 'sum'),
        *('tuple', 'zip'),
    )
)
METHODS = frozenset(
    (
        *('append', 'copy', 'endswith', 'extend', 'get', 'insert', 'items', 'join', 'keys'),
        *('lower', 'pop', 'remove', 'replace', 'split', 'startswith', 'strip', 'update', 'upper'),
        *('values',),
    )
)
STATEMENTS = {
    ast.FunctionDef: 'defines the function {name}',
    ast.AsyncFunctionDef: 'defines the function {name}',
    ast.ClassDef: 'defines the class {name}',
    ast.Lambda: 'defines a function (lambda)',
    ast.Delete: 'deletes names or values',
    ast.Raise: 'raises an error',
    ast.Try: 'catches errors',
    ast.While: 'repeats something (while)',
}
# What mmengine replaces before it runs a file: a variable of the environment, with a default.
ENVIRONMENT = re.compile(r'\{\{\s*\$(\w+)\s*(?::[^}]*)?\}\}')
FILES = re.compile(r'(^|_)(checkpoint|load_from|pretrained)$')
LARGEST = 5_000_000


class Finding(NamedTuple):
    """Something in a config that is more than a value.

    Attributes:
        line: Its line; 0 in a file without lines.
        text: What it is, a clause such as 'imports os'.
    """

    line: int
    text: str


@dataclass
class ConfigFile:
    """One file of a config.

    Attributes:
        path: The file, or the name of one of another package, which is not looked at.
        findings: What is more than values.
        weights: Files of weights that it names.
        bases: Files that it inherits from, as it names them.
    """

    path: str
    findings: list[Finding] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)


def look_through(path: Path) -> list[ConfigFile]:
    """Looks through a config and all files that it inherits from.

    Args:
        path: The config: .py, .json or .yaml.

    Returns:
        The files, the config first. Bases in other packages (``mmdet::…``) are named only.

    Raises:
        CliError: A file cannot be read or parsed.
    """
    found: dict[Path | str, ConfigFile] = {}
    todo: list[Path | str] = [path.resolve()]
    while todo:
        place = todo.pop(0)
        if place in found:
            continue
        if isinstance(place, str):
            found[place] = ConfigFile(place, [Finding(0, 'was not looked at')])
            continue
        file = found[place] = _looked_at(place)
        for base in file.bases:
            outside = '::' in base or '://' in base
            todo.append(base if outside else (place.parent / Path(base).expanduser()).resolve())
    return list(found.values())


def _looked_at(path: Path) -> ConfigFile:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CliError(f'The config {path} cannot be read: {reason}.') from error
    if len(content) > LARGEST:
        raise CliError(f'The config {path} has {len(content):,} bytes, more than {LARGEST:,}.')
    try:
        if path.suffix == '.py':
            return _of_python(path, content.decode('utf-8'))
        text = content.decode('utf-8')
        values = json.loads(text) if path.suffix == '.json' else yaml.safe_load(text)
    except (ValueError, SyntaxError, yaml.YAMLError, RecursionError, MemoryError) as error:
        reason = printable(str(error).partition('\n')[0]) or type(error).__name__
        raise CliError(f'The config {path} cannot be parsed: {reason}.') from error
    file = ConfigFile(str(path))
    _look_at_values(values, file)
    return file


def _of_python(path: Path, text: str) -> ConfigFile:
    file = ConfigFile(str(path))
    for match in ENVIRONMENT.finditer(text):
        line = text.count('\n', 0, match.start()) + 1
        file.findings.append(Finding(line, f'reads the environment variable {match[1]}'))
    tree = ast.parse(ENVIRONMENT.sub('environment', text))
    ours = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and _is_ours(node)
        for name in node.names
    }
    lazy = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and _is_read_base(node):
            for each in node.body:
                if isinstance(each, ast.ImportFrom):
                    lazy.add(each)
                    file.bases.append(_file_of(each))
    for node in ast.walk(tree):
        if node not in lazy:
            file.findings.extend(
                Finding(getattr(node, 'lineno', 0), text) for text in _beyond(node, ours)
            )
        _look_at_assignment(node, file)
    file.findings.sort()
    return file


def _beyond(node: ast.AST, ours: set[str]) -> Iterator[str]:
    """What a node of the syntax tree does beyond naming values."""
    match node:
        case ast.Import(names=names):
            yield f'imports {", ".join(each.name for each in names)}'
        case ast.ImportFrom(module=module, level=level) if not _is_ours(node):
            imported = ', '.join(each.name for each in node.names)
            if (module, imported) != ('mmengine.config', 'read_base'):
                yield f'imports {imported} from {"." * level}{module or ""}'
        case ast.Call(func=ast.Name(id=name)):
            if name not in PLAIN and name not in ours and name != 'read_base':
                yield f'calls {name}'
        case ast.Call(func=ast.Attribute(value=value, attr=name)):
            own = isinstance(value, ast.Name) and value.id in ours and name in OUR_FUNCTIONS
            if not own and name not in METHODS:
                yield f'calls {short(ast.unparse(node.func))[1:-1]}'
        case ast.Call():
            yield f'calls {short(ast.unparse(node.func))[1:-1]}'
        case ast.Attribute(attr=name) if name.startswith('__'):
            yield f'reads the attribute {name}'
        case ast.Name(id=name) if name.startswith('__') and name not in ('__file__', '__name__'):
            yield f'reads the name {name}'
        case ast.With() if not _is_read_base(node):
            yield 'opens a context (with)'
        case _ if type(node) in STATEMENTS:
            yield STATEMENTS[type(node)].format(name=getattr(node, 'name', ''))


def _look_at_assignment(node: ast.AST, file: ConfigFile) -> None:
    """Finds what mmengine imports or reads because of a value."""
    pairs: list[tuple[str, ast.expr]] = []
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pairs = [(name, value)]
        case ast.Call(keywords=keywords):
            pairs = [(each.arg, each.value) for each in keywords if each.arg]
        case ast.Dict(keys=keys, values=values):
            pairs = [
                (str(key.value), value)
                for key, value in zip(keys, values, strict=True)
                if isinstance(key, ast.Constant)
            ]
    for key, value in pairs:
        try:
            plain = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            plain = _imports_of(value) if key == 'custom_imports' else None
        _look_at_value(key, plain, file, value.lineno)


def _imports_of(value: ast.expr) -> dict[str, Any]:
    """The modules in ``dict(imports=[...])``; strings anywhere in it."""
    texts = [each.value for each in ast.walk(value) if isinstance(each, ast.Constant)]
    return dict(imports=[text for text in texts if isinstance(text, str)])


def _look_at_values(values: Any, file: ConfigFile) -> None:
    # Each container once: anchors of YAML may make a small file a huge tree.
    todo, seen = [values], set()
    while todo:
        value = todo.pop()
        if id(value) in seen or not isinstance(value, (dict, list)):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            for key, inner in value.items():
                _look_at_value(str(key), inner, file, 0)
        todo.extend(value.values() if isinstance(value, dict) else value)


def _look_at_value(key: str, value: Any, file: ConfigFile, line: int) -> None:
    if key == '_base_':
        bases = value if isinstance(value, (list, tuple)) else [value]
        file.bases.extend(base for base in bases if isinstance(base, str))
    elif key == 'custom_imports' and isinstance(value, dict):
        modules = value.get('imports') or []
        for module in modules if isinstance(modules, (list, tuple)) else [modules]:
            if str(module).partition('.')[0] not in OURS:
                file.findings.append(Finding(line, f'imports {module} (custom_imports)'))
    elif key == 'type' and isinstance(value, str) and value.count('.') > 1:
        file.findings.append(Finding(line, f'imports the class {value}'))
    elif FILES.search(key) and isinstance(value, str):
        file.weights.append(value)


def _is_ours(node: ast.ImportFrom) -> bool:
    return not node.level and all((node.module, each.name) in OUR_NAMES for each in node.names)


def _is_read_base(node: ast.With) -> bool:
    return all(
        isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Name)
        and item.context_expr.func.id == 'read_base'
        for item in node.items
    )


def _file_of(node: ast.ImportFrom) -> str:
    """The file of a base of the newer style: ``from .._base_.models.fcos import *``."""
    parts = (node.module or '').replace('.', '/')
    if not node.level:
        return f'{node.module}::'
    return f'{"../" * (node.level - 1)}{parts}.py'
