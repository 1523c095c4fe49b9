"""How much a language may own, in the form the user thinks of it."""

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .errors import UsageError

UNITS = {"B": 1, "kB": 1_000, "KiB": 1_024, "MB": 1_000_000, "MiB": 1_048_576}


@dataclass(frozen=True)
class Budget:
    """A share of the base's parameters, a number of them, or bytes of the stored file.

    The base's parameters are those of its sites; its head is not counted. Bytes count the whole
    file of tensors, the language's head included.

    >>> Budget.parse("10%").parameters(8_836, bytes_of=lambda n: 1_000 + 2 * n)
    883
    >>> Budget.parse("2KiB").parameters(8_836, bytes_of=lambda n: 1_000 + 2 * n)
    524
    """

    text: str
    kind: Literal["share", "parameters", "bytes"]
    amount: float

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read ``10%``, ``900`` or ``2KiB``; a UsageError says what else was given."""
        number, unit = _split(text)
        if unit == "%":
            if not 0 <= number <= 100:
                raise UsageError(f"a budget of {text} is not between 0% and 100%")
            return cls(text, "share", number / 100)
        if unit == "":
            if not number.is_integer():
                raise UsageError(f"a budget of {text} parameters is not a whole number")
            return cls(text, "parameters", number)
        return cls(text, "bytes", number * UNITS[unit])

    def holds(self, stored_bytes: int) -> bool:
        """False only for a budget in bytes that a file of so many bytes exceeds.

        >>> Budget.parse("2KiB").holds(2_049), Budget.parse("10%").holds(2_049)
        (False, True)
        """
        return self.kind != "bytes" or stored_bytes <= self.amount

    def parameters(
        self, total: int, bytes_of: Callable[[int], int], least: str = "the head"
    ) -> int:
        """Most numbers that a language may own beside its head.

        Args:
            total: parameters of all sites.
            bytes_of: size of the file of a language that owns so many numbers; never falls.
            least: what a language stores that owns none.

        Raises:
            UsageError: the bytes cannot even hold that.

        """
        if self.kind == "share":
            return int(self.amount * total + 1e-9)
        if self.kind == "parameters":
            return min(total, int(self.amount))
        if self.amount < bytes_of(0):
            raise UsageError(
                f"a budget of {self.text} cannot hold {least}; "
                f"the smallest that can is {bytes_of(0)}B"
            )
        return bisect_right(range(total + 1), self.amount, key=bytes_of) - 1


def _split(text: str) -> tuple[float, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|[A-Za-z]*)\s*", text)
    if not match or match[2] not in ("", "%", *UNITS):
        raise UsageError(
            f"'{text}' is no budget; write 10%, 900 (parameters) or 2KiB (all bytes; B, kB, MB, "
            "MiB)"
        )
    return float(match[1]), match[2]
