"""Keys from standard input, one by one, without waiting for them."""

import os
import re
import select
import sys
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from typing import Any, Final, Protocol, Self, TextIO

from ..signals import suspendable
from ..terminal import in_background

SEQUENCE: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.?)", re.DOTALL)  # arrows, F1, Alt-x
BEGUN: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*|O)?\Z")  # its rest may come at the next look


class KeySource(Protocol):
    """Where keys come from."""

    def poll(self) -> str:
        """What was typed since the last look."""
        ...


class Keys:
    """What was typed since the last look; at the end of a pipe, nothing more.

    A terminal gives every key at once, unechoed, and is as before afterwards. A pipe or file is
    read as it comes. Ctrl-C stays the interrupt.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdin if stream is None else stream
        self._input: int | None = None  # file descriptor; None where no key can come
        self._begun = ""  # of a sequence whose rest has not come
        self._terminal = False  # whether keys come from one
        self._before: list[Any] | None = None  # how it was, once it was in front
        self._away = False  # from a terminal, in the background
        self._suspended = ExitStack()

    def __enter__(self) -> Self:
        """Begin to take keys."""
        try:
            self._input = self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # no file behind it, closed, or none at all
            return self
        if os.isatty(self._input):
            self._take_terminal()
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the terminal back."""
        self._suspended.close()
        self._give_back()

    def _give_back(self) -> None:
        if self._input is not None and self._before is not None and self._in_front():
            import termios

            with suppress(termios.error):  # it is gone: its window was closed
                termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    @property
    def closed(self) -> bool:
        """Whether no key can come, or none before the program is first in front."""
        return self._input is None or (self._terminal and self._before is None)

    def poll(self) -> str:
        """Return the keys that have come, oldest first; cursor and function keys are left out."""
        begun, self._begun = self._begun, ""  # nothing comes after a key that is Escape itself
        if not self._in_front():
            return ""
        if self._away:
            self._take_again()
        if self._input is None:
            return ""
        try:
            if not select.select([self._input], [], [], 0)[0]:
                return ""
            typed = os.read(self._input, 1024)
        except OSError:  # of a terminal that is gone, or of a pipe on Windows
            typed = b""
        if not typed:
            self._input = None
        keys = begun + typed.decode(errors="ignore")
        if typed and (found := BEGUN.search(keys)):
            self._begun, keys = found[0], keys[: found.start()]
        return SEQUENCE.sub("", keys)

    def _take_terminal(self) -> None:
        if find_spec("termios") is None:  # as on Windows: without keys, then
            self._input = None
            return
        self._terminal = True
        self._suspended.enter_context(suspendable(self._give_back, self._take_again))
        self._take_again()

    def _take_again(self) -> None:
        """At the start and after a stop; in the background not before it comes to the front."""
        import termios
        import tty

        self._away = not self._in_front()
        if self._input is not None and not self._away:
            try:
                self._before = self._before or termios.tcgetattr(self._input)
                tty.setcbreak(self._input, termios.TCSADRAIN)
            except termios.error:  # it is gone: its window was closed meanwhile
                self._input = None

    def _in_front(self) -> bool:
        """Whether the terminal, if it is one, may be touched without stopping the program."""
        return not self._terminal or self._input is None or not in_background(self._input)
