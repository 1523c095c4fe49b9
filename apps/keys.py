"""Keys from standard input, one by one, without waiting for them."""

import os
import re
import select
import sys
from typing import Any, Final, Self, TextIO

SEQUENCE: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.?)", re.DOTALL)  # arrows, F1, Alt-x


class Keys:
    """What was typed since the last look; at the end of a pipe, nothing more.

    A terminal gives every key at once, unechoed, and is as before afterwards. A pipe or file is
    read as it comes. Ctrl-C stays the interrupt.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdin if stream is None else stream
        self._input: int | None = None  # file descriptor; None where no key can come
        self._before: list[Any] | None = None  # how the terminal was

    def __enter__(self) -> Self:
        """Begin to take keys."""
        try:
            self._input = self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # no file behind it, closed, or none at all
            return self
        if os.isatty(self._input):
            self._take_terminal(self._input)
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the terminal back."""
        if self._input is not None and self._before is not None:
            import termios

            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    @property
    def closed(self) -> bool:
        """Whether no key can come any more."""
        return self._input is None

    def poll(self) -> str:
        """Return the keys that have come, oldest first; cursor and function keys are left out."""
        if self._input is None or not select.select([self._input], [], [], 0)[0]:
            return ""
        typed = os.read(self._input, 1024)
        if not typed:
            self._input = None
        return SEQUENCE.sub("", typed.decode(errors="ignore"))

    def _take_terminal(self, terminal: int) -> None:
        import termios  # Unix only
        import tty

        if _in_background(terminal):  # touching it would stop the program
            self._input = None
            return
        self._before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal, termios.TCSADRAIN)


def _in_background(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:  # not the terminal that controls this program
        return False
