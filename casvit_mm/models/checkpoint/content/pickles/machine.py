"""The machine that a pickle is a program for: a stack, marks in it, and values to recall."""

from typing import Any

from casvit_mm.models.checkpoint.content.limits import LARGE, OPCODES
from casvit_mm.models.checkpoint.content.pickles.functions import Context, as_set, put
from casvit_mm.models.checkpoint.content.pickles.literals import decimal
from casvit_mm.models.checkpoint.content.pickles.source import Source
from casvit_mm.models.checkpoint.content.problems import DamagedError

LAST_PROTOCOL = 5


class Machine:
    """The steps of a pickle that make containers and recall values; named by their opcodes.

    Args:
        source: Bytes of the pickle, and perhaps more.
        context: What its functions work with.
    """

    def __init__(self, source: Source, context: Context) -> None:
        self.source = source
        self.context = context
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

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
        # Python counts them; numbers of its own choice could all have the same hash.
        if not 0 <= key < OPCODES:
            raise DamagedError('it remembers a value under an impossible number')
        if not self.stack:
            raise DamagedError('it remembers a value that is not there')
        self.memo[key] = self.stack[-1]

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
