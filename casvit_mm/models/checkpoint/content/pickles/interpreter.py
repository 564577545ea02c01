"""Interprets a pickle: it walks its steps and calls nothing that they name.

A name is looked up in a table of our own
(:mod:`casvit_mm.models.checkpoint.content.pickles.functions`), never imported.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from casvit_mm.models.checkpoint.content.pickles.arrays import check_dtype_state, finish_array
from casvit_mm.models.checkpoint.content.pickles.functions import (
    FUNCTIONS,
    KNOWN,
    RECORDS,
    UNSUPPORTED,
    Context,
)
from casvit_mm.models.checkpoint.content.pickles.literals import LITERALS
from casvit_mm.models.checkpoint.content.pickles.machine import Machine
from casvit_mm.models.checkpoint.content.pickles.records import Name, Record
from casvit_mm.models.checkpoint.content.pickles.source import Source
from casvit_mm.models.checkpoint.content.problems import (
    DamagedError,
    ForbiddenNameError,
    UnsupportedError,
    shown,
)

MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}
"""Names of Python 2."""
STOP = b'.'
SIZED = (str, bytes, bytearray)
Persistent = Callable[[Any], Any]


class Interpreter(Machine):
    """Interprets one pickle.

    Args:
        source: Its bytes, and perhaps more.
        context: What its functions work with.
        persistent: Gives the value of what the file stores outside of the pickle.
    """

    def __init__(
        self, source: Source, context: Context, persistent: Persistent | None = None
    ) -> None:
        super().__init__(source, context)
        self.persistent = persistent

    def run(self) -> Any:
        """Walks the steps to the end.

        Returns:
            The value of the pickle.

        Raises:
            ContentError: It breaks the rules, names what it must not, or asks for too much.
        """
        source, budget, allocate = self.source, self.context.budget, self._allocate
        # The innermost loop: a call of `take` or `spend` would take a tenth of the time.
        read, literals, steps = source.file.read, LITERALS, STEPS
        while True:
            budget.steps -= 1
            if budget.steps < 0:
                budget.spend(0)
            code = read(1)
            step = steps.get(code)
            if step is not None:
                step(self)
                continue
            literal = literals.get(code)
            if literal is not None:
                value = literal(source)
                if type(value) in SIZED:
                    allocate(value)
                self.stack.append(value)
            elif code == STOP:
                return self._pop()
            elif not code:
                raise DamagedError('it ends too early')
            else:
                raise DamagedError(f'it holds the unknown step {code!r}')

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
