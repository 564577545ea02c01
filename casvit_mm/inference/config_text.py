"""Reads and writes the text of a config as values: nothing in it is run or looked up."""

import ast
import math
from collections.abc import Mapping
from typing import Any

from casvit.names import printable
from casvit_mm.config.text import escape_braces

# A config that lists the names and colours of 1,203 classes three times has two thirds of this.
LONGEST = 1_000_000
DEEPEST = 60
NUMBERS = {'inf': math.inf, 'nan': math.nan}
SHOWN = 60


class RefusedError(Exception):
    """The reason why a config is refused, without the name of its checkpoint."""


def values_of(text: Any) -> dict[str, Any]:
    """The values that a text assigns to names.

    Args:
        text: Python that assigns literals, as ``Config.pretty_text`` writes it.

    Raises:
        RefusedError: It is anything else, or too large.
    """
    if not isinstance(text, str):
        raise RefusedError(f'it is of type {type(text).__name__}, not text')
    if len(text) > LONGEST:
        raise RefusedError(f'it has {len(text):,} characters, more than {LONGEST:,}')
    try:
        values = {}
        for statement in ast.parse(text).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    values[name] = _value(value, text)
                case _:
                    raise RefusedError(f'{_quoted(statement, text)} is not a value')
        return values
    except SyntaxError as error:
        reason = f'line {error.lineno}: {shortened(str(error.msg))}'
        raise RefusedError(f'it is not Python data ({reason})') from error
    except (ValueError, RecursionError, MemoryError) as error:
        # Nested so deeply that the parser gives up.
        reason = str(error) or type(error).__name__
        raise RefusedError(f'it is not Python data ({reason})') from error


def text_of(values: Mapping[str, Any]) -> str:
    """The text that assigns values to names, which mmengine reads as they are.

    Args:
        values: Plain values, as :func:`values_of` returns them.
    """
    return escape_braces(''.join(f'{name} = {_written(value)}\n' for name, value in values.items()))


def _written(value: Any) -> str:
    """A literal; numbers without one are calls of float."""
    if isinstance(value, Mapping):
        items = ', '.join(f'{key!r}: {_written(each)}' for key, each in value.items())
        return f'{{{items}}}'
    if isinstance(value, (list, tuple)):
        items = ', '.join(map(_written, value))
        if isinstance(value, list):
            return f'[{items}]'
        return f'({items},)' if value else '()'
    if isinstance(value, float) and not math.isfinite(value):
        return f'float({str(value)!r})'
    return repr(value)


def _value(node: ast.expr, text: str, depth: int = 0) -> Any:
    """The value of an expression of literals."""
    if depth > DEEPEST:
        raise RefusedError(f'it is nested more than {DEEPEST} levels deep')
    deeper = depth + 1
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str()):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id='inf')):
            return -math.inf
        # mmengine writes numbers without a literal this way.
        case ast.Name(id='inf' | 'nan' as name):
            return NUMBERS[name]
        case ast.List(elts=items):
            return [_value(item, text, deeper) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item, text, deeper) for item in items)
        case ast.Dict(keys=keys, values=values):
            return {
                _key(key, text): _value(value, text, deeper)
                for key, value in zip(keys, values, strict=True)
            }
        case ast.Call(func=ast.Name(id='dict'), args=[] | [ast.Dict()] as given, keywords=named):
            result = _value(given[0], text, deeper) if given else {}
            for keyword in named:
                if keyword.arg is None:
                    raise RefusedError(f'{_quoted(keyword.value, text)} is not a value')
                result[keyword.arg] = _value(keyword.value, text, deeper)
            return result
    raise RefusedError(f'{_quoted(node, text)} is not a value')


def _key(node: ast.expr | None, text: str) -> str | int:
    match node:
        case ast.Constant(value=str() | int() as key):
            return key
    raise RefusedError(f'{_quoted(node, text) if node else "**"} is not a key')


def _quoted(node: ast.expr | ast.stmt, text: str) -> str:
    line = text.splitlines()[node.lineno - 1 : node.lineno]
    return f'line {node.lineno} ({shortened("".join(line).strip())})'


def short_of(value: Any) -> str:
    """The repr of a value, shortened and printable."""
    return shortened(repr(value))


def shortened(text: str) -> str:
    """A text for a message: printable and not long."""
    return printable(text if len(text) <= SHOWN else f'{text[:SHOWN]}…')
