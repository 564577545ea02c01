"""Counts what the pickle of a file asks for."""

from casvit_mm.models.checkpoint.content.limits import LARGE, LARGE_BYTES, OPCODES, TUPLE_KEYS
from casvit_mm.models.checkpoint.content.problems import TooLargeError


class Budget:
    """What is left for one pickle."""

    def __init__(self) -> None:
        self.steps = OPCODES
        self.bytes = LARGE_BYTES
        self.tuple_keys = TUPLE_KEYS

    def spend(self, steps: int) -> None:
        """Counts objects that a step copies or creates.

        Raises:
            TooLargeError: They are too many.
        """
        self.steps -= steps
        if self.steps < 0:
            raise TooLargeError(f'it takes more than {OPCODES:,} steps to read')

    def allocate(self, size: int) -> None:
        """Counts the memory of a string, of bytes or of an array.

        Args:
            size: In bytes.

        Raises:
            TooLargeError: It is too much.
        """
        if size >= LARGE:
            self.bytes -= size
            if self.bytes < 0:
                raise TooLargeError(
                    f'its strings and arrays take more than {LARGE_BYTES // 2**20} MiB'
                )

    def spend_tuple_key(self) -> None:
        """Counts a tuple that is a key of a dict or an element of a set.

        Raises:
            TooLargeError: They are too many.
        """
        self.tuple_keys -= 1
        if self.tuple_keys < 0:
            raise TooLargeError(f'it holds more than {TUPLE_KEYS:,} keys that are tuples')
