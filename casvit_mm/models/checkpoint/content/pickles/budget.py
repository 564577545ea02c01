"""Counts what the pickle of a file asks for."""

from casvit_mm.models.checkpoint.content.limits import LARGE, LARGE_BYTES, ODD_KEYS, OPCODES
from casvit_mm.models.checkpoint.content.problems import TooLargeError


class Budget:
    """What is left for one pickle."""

    def __init__(self) -> None:
        self.steps = OPCODES
        self.bytes = LARGE_BYTES
        self.odd_keys = ODD_KEYS

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

    def spend_odd_key(self) -> None:
        """Counts a key of a dict, or an element of a set, that is neither text nor a small number.

        Raises:
            TooLargeError: They are too many.
        """
        self.odd_keys -= 1
        if self.odd_keys < 0:
            raise TooLargeError(
                f'it holds more than {ODD_KEYS:,} keys that are tuples, fractions or large numbers'
            )
