"""Interprets a pickle: it walks its steps and calls nothing that they name.

A pickle is a program for a small machine with a stack and a memory for values that it needs again
(the memo). The machine here knows plain data; a name is looked up in a table of our own
(:mod:`casvit_mm.models.checkpoint.content.functions`), never imported.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from casvit_mm.models.checkpoint.content.arrays import check_dtype_state, finish_array
from casvit_mm.models.checkpoint.content.functions import (
    FUNCTIONS,
    KNOWN,
    RECORDS,
    UNSUPPORTED,
    Context,
    as_set,
    put,
)
from casvit_mm.models.checkpoint.content.limits import LARGE
from casvit_mm.models.checkpoint.content.literals import LITERALS, decimal
from casvit_mm.models.checkpoint.content.problems import (
    DamagedError,
    ForbiddenNameError,
    UnsupportedError,
    shown,
)
from casvit_mm.models.checkpoint.content.records import Name, Record
from casvit_mm.models.checkpoint.content.source import Source

LAST_PROTOCOL = 5
MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}
"""Names of Python 2."""
STOP = b'.'
SIZED = (str, bytes, bytearray)
DOTTED = re.compile(r'[A-Za-z_][\w.]*')
Persistent = Callable[[Any], Any]


class Interpreter:
    """Interprets one pickle.

    Args:
        source: Its bytes, and perhaps more.
        context: What its functions work with.
        persistent: Gives the value of what the file stores outside of the pickle.
    """

    def __init__(
        self, source: Source, context: Context, persistent: Persistent | None = None
    ) -> None:
        self.source = source
        self.context = context
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Walks the steps to the end.

        Returns:
            The value of the pickle.

        Raises:
            ContentError: It breaks the rules, names what it must not, or asks for too much.
        """
        source, budget, allocate = self.source, self.context.budget, self._allocate
        take, literals, steps = source.take, LITERALS, STEPS
        while True:
            # The innermost loop: a call of `spend` would take a tenth of the time.
            budget.steps -= 1
            if budget.steps < 0:
                budget.spend(0)
            code = take(1)
            literal = literals.get(code)
            if literal is not None:
                value = literal(source)
                if type(value) in SIZED:
                    allocate(value)
                self.stack.append(value)
                continue
            if code == STOP:
                return self._pop()
            step = steps.get(code)
            if step is None:
                raise DamagedError(f'it holds the unknown step {code!r}')
            step(self)

    def _allocate(self, value: Any) -> None:
        if len(value) >= LARGE:
            # Up to four bytes for a character.
            self.context.budget.allocate(value.__sizeof__())

    def _pop(self) -> Any:
        if not self.stack:
            raise DamagedError('it takes a value that is not there')
        return self.stack.pop()

    def _top(self, kind: type | tuple[type, ...]) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise DamagedError('it adds to something that is no container')
        return self.stack[-1]

    def _since_mark(self) -> list[Any]:
        if not self.marked:
            raise DamagedError('it looks for a mark that is not there')
        items, self.stack = self.stack, self.marked.pop()
        return items

    def mark(self) -> None:
        """MARK."""
        self.marked.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        """POP."""
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def pop_mark(self) -> None:
        """POP_MARK."""
        self._since_mark()

    def duplicate(self) -> None:
        """DUP."""
        self.stack.append(self._top(object))

    def protocol(self) -> None:
        """PROTO."""
        number = self.source.number(1)
        if number > LAST_PROTOCOL:
            raise DamagedError(f'it is a pickle of the unknown protocol {number}')

    def frame(self) -> None:
        """FRAME: the steps that belong together, which does not matter here."""
        self.source.take(8)

    def empty_list(self) -> None:
        """EMPTY_LIST."""
        self.stack.append([])

    def empty_dict(self) -> None:
        """EMPTY_DICT."""
        self.stack.append({})

    def empty_set(self) -> None:
        """EMPTY_SET."""
        self.stack.append(set())

    def empty_tuple(self) -> None:
        """EMPTY_TUPLE."""
        self.stack.append(())

    def tuple_of_one(self) -> None:
        """TUPLE1."""
        self.stack.append((self._pop(),))

    def tuple_of_two(self) -> None:
        """TUPLE2."""
        second = self._pop()
        self.stack.append((self._pop(), second))

    def tuple_of_three(self) -> None:
        """TUPLE3."""
        third, second = self._pop(), self._pop()
        self.stack.append((self._pop(), second, third))

    def tuple_since_mark(self) -> None:
        """TUPLE."""
        items = self._since_mark()
        self.stack.append(tuple(items))

    def list_since_mark(self) -> None:
        """LIST."""
        items = self._since_mark()
        self.stack.append(items)

    def dict_since_mark(self) -> None:
        """DICT."""
        items = self._since_mark()
        target: dict = {}
        self._put_all(target, items)
        self.stack.append(target)

    def frozenset_since_mark(self) -> None:
        """FROZENSET."""
        items = self._since_mark()
        self.stack.append(frozenset(as_set(items, self.context.budget)))

    def append(self) -> None:
        """APPEND."""
        item = self._pop()
        self._top(list).append(item)

    def append_all(self) -> None:
        """APPENDS."""
        items = self._since_mark()
        self._top(list).extend(items)

    def add_all(self) -> None:
        """ADDITEMS."""
        items = self._since_mark()
        self._top(set).update(as_set(items, self.context.budget))

    def set_item(self) -> None:
        """SETITEM."""
        value, key = self._pop(), self._pop()
        put(self._top(dict), key, value, self.context.budget)

    def set_items(self) -> None:
        """SETITEMS."""
        items = self._since_mark()
        self._put_all(self._top(dict), items)

    def _put_all(self, target: dict, items: list[Any]) -> None:
        if len(items) % 2:
            raise DamagedError('it holds a dict with a key that has no value')
        budget = self.context.budget
        for index in range(0, len(items), 2):
            put(target, items[index], items[index + 1], budget)

    def _remember(self, key: int) -> None:
        self.memo[key] = self._top(object)

    def _recall(self, key: int) -> None:
        if key not in self.memo:
            raise DamagedError('it refers to a value that is not there')
        self.stack.append(self.memo[key])

    def put_line(self) -> None:
        """PUT."""
        self._remember(decimal(self.source.line()))

    def put_short(self) -> None:
        """BINPUT."""
        self._remember(self.source.take(1)[0])

    def put_long(self) -> None:
        """LONG_BINPUT."""
        self._remember(self.source.number(4))

    def memoize(self) -> None:
        """MEMOIZE."""
        self._remember(len(self.memo))

    def get_line(self) -> None:
        """GET."""
        self._recall(decimal(self.source.line()))

    def get_short(self) -> None:
        """BINGET."""
        self._recall(self.source.take(1)[0])

    def get_long(self) -> None:
        """LONG_BINGET."""
        self._recall(self.source.number(4))

    def name_lines(self) -> None:
        """GLOBAL."""
        module, name = (self.source.line().decode('utf-8', 'replace') for _ in range(2))
        self.stack.append(named(module, name))

    def name_of_stack(self) -> None:
        """STACK_GLOBAL."""
        name, module = self._pop(), self._pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedError('it holds a name that is no string')
        self.stack.append(named(module, name))

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise DamagedError('it calls something that is no function')
        own = FUNCTIONS.get(function.full)
        if own is not None:
            try:
                return own(self.context, *arguments)
            except TypeError as error:
                raise DamagedError(f'it calls {function.full} with wrong arguments') from error
        if function.full in RECORDS:
            return Record(function.full, arguments)
        raise ForbiddenNameError(function.full)

    def reduce(self) -> None:
        """REDUCE and NEWOBJ."""
        arguments, function = self._pop(), self._pop()
        self.stack.append(self._call(function, arguments))

    def new_object_with_keywords(self) -> None:
        """NEWOBJ_EX."""
        keywords, arguments, function = self._pop(), self._pop(), self._pop()
        if not isinstance(keywords, dict) or keywords:
            raise DamagedError('it calls something with named arguments')
        self.stack.append(self._call(function, arguments))

    def object_since_mark(self) -> None:
        """OBJ."""
        items = self._since_mark()
        if not items:
            raise DamagedError('it calls something that is no function')
        self.stack.append(self._call(items[0], tuple(items[1:])))

    def object_of_lines(self) -> None:
        """INST."""
        self.name_lines()
        function = self._pop()
        items = self._since_mark()
        self.stack.append(self._call(function, tuple(items)))

    def build(self) -> None:
        """BUILD: gives an object its state."""
        state = self._pop()
        target = self._top(object)
        if isinstance(target, Record):
            self._set_state(target, state)
        elif isinstance(target, np.ndarray) and id(target) in self.context.unfinished:
            del self.context.unfinished[id(target)]
            finish_array(target, state, self.context.budget)
        elif isinstance(target, np.dtype):
            check_dtype_state(state)
        elif not isinstance(target, dict):
            raise DamagedError(f'it gives a state to a {type(target).__name__}')
        # The attributes of a dict, such as the versions of layers that torch notes, are left out.

    def _set_state(self, record: Record, state: Any) -> None:
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if part is None:
                continue
            if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
                raise DamagedError('it holds an object without a valid state')
            self.context.budget.spend(len(part))
            record.state.update(part)

    def persistent_of_stack(self) -> None:
        """BINPERSID."""
        if self.persistent is None:
            raise DamagedError('it refers to something outside of it')
        self.stack.append(self.persistent(self._pop()))


def named(module: str, name: str) -> Any:
    """The value of a name that a file uses.

    Raises:
        ForbiddenNameError: The name is not in the table.
        UnsupportedError: It stands for a kind of tensor that is not read.
    """
    full = f'{MODULES.get(module, module)}.{name}'
    known = KNOWN.get(full)
    if known is not None:
        return known
    if full in UNSUPPORTED:
        raise UnsupportedError(UNSUPPORTED[full])
    raise ForbiddenNameError(shown(full))


STEPS: dict[bytes, Callable[[Interpreter], None]] = {
    b'(': Interpreter.mark,
    b'0': Interpreter.pop,
    b'1': Interpreter.pop_mark,
    b'2': Interpreter.duplicate,
    b'\x80': Interpreter.protocol,
    b'\x95': Interpreter.frame,
    b']': Interpreter.empty_list,
    b'}': Interpreter.empty_dict,
    b'\x8f': Interpreter.empty_set,
    b')': Interpreter.empty_tuple,
    b'\x85': Interpreter.tuple_of_one,
    b'\x86': Interpreter.tuple_of_two,
    b'\x87': Interpreter.tuple_of_three,
    b't': Interpreter.tuple_since_mark,
    b'l': Interpreter.list_since_mark,
    b'd': Interpreter.dict_since_mark,
    b'\x91': Interpreter.frozenset_since_mark,
    b'a': Interpreter.append,
    b'e': Interpreter.append_all,
    b'\x90': Interpreter.add_all,
    b's': Interpreter.set_item,
    b'u': Interpreter.set_items,
    b'p': Interpreter.put_line,
    b'q': Interpreter.put_short,
    b'r': Interpreter.put_long,
    b'\x94': Interpreter.memoize,
    b'g': Interpreter.get_line,
    b'h': Interpreter.get_short,
    b'j': Interpreter.get_long,
    b'c': Interpreter.name_lines,
    b'\x93': Interpreter.name_of_stack,
    b'R': Interpreter.reduce,
    b'\x81': Interpreter.reduce,
    b'\x92': Interpreter.new_object_with_keywords,
    b'o': Interpreter.object_since_mark,
    b'i': Interpreter.object_of_lines,
    b'b': Interpreter.build,
    b'Q': Interpreter.persistent_of_stack,
}
"""What is done for each step, by its opcode. Others are refused: those of an extension registry,
of memory outside of the pickle, and of text as a persistent id, none of which torch writes."""
