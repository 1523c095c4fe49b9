"""Signals: requests to terminate end the program as Ctrl-C does, and Ctrl-Z leaves the terminal."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SAME_SECONDS: Final = 10.0  # within which requests to terminate are one
ENDS: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(KeyboardInterrupt):
    """A request to terminate; in a module that is run, Python tells it from Ctrl-C."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let a request to terminate, or a closed terminal, end the program as Ctrl-C does.

    What whoever started the program had it ignore, as nohup does, stays ignored. Requests within
    ``SAME_SECONDS`` are one: ``timeout`` sends two at once, systemd may, and a second would break
    off the end.
    """
    asked = -math.inf

    def end(number: int, frame: object) -> None:
        nonlocal asked
        if time.monotonic() - asked > SAME_SECONDS:
            asked = time.monotonic()
            raise Terminated

    heard = [number for number in ENDS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def suspendable(leave: Callable[[], object], enter: Callable[[], object]) -> Iterator[None]:
    """Let Ctrl-Z stop the program once it has left the terminal; enter that when it goes on.

    Inside another one, this leaves first and enters last. Where whoever started the program had it
    ignore Ctrl-Z, it does.
    """
    number = getattr(signal, "SIGTSTP", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    outer = signal.getsignal(number)
    if outer is signal.SIG_IGN:
        yield
        return

    def stop(signal_number: int, frame: FrameType | None) -> None:
        leave()
        if callable(outer):
            outer(signal_number, frame)
        else:
            innermost = signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)  # goes on here, some time
            signal.signal(number, innermost)
        enter()

    signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, outer)
