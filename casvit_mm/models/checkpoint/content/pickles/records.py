"""Inert stand-ins for the classes and objects that a file names."""

from typing import Any


class Name:
    """A name that a file uses: of a class, a function or a method. It stands for nothing.

    Args:
        full: Module and name, such as ``argparse.Namespace``.
    """

    __slots__ = ('full',)

    def __init__(self, full: str) -> None:
        self.full = full

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and other.full == self.full

    def __hash__(self) -> int:
        return hash(self.full)

    def __repr__(self) -> str:
        return f'Name({self.full!r})'


class Record:
    """An object of a file, as plain data: what it is called, and what it holds.

    Args:
        name: Module and name of its class, such as ``argparse.Namespace``.
        args: Arguments that the file would have called the class with.

    Attributes:
        state: The attributes of the object.
    """

    __slots__ = ('args', 'name', 'state')

    def __init__(self, name: str, args: tuple = ()) -> None:
        self.name = name
        self.args = args
        self.state: dict[str, Any] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return (self.name, self.args, self.state) == (other.name, other.args, other.state)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f'Record({self.name!r}, {self.args!r}, {self.state!r})'
