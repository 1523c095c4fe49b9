"""Writing in any script, and ending as the system asks, for commands that need it."""

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ENDS: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def write_any_script() -> None:
    """Print UTF-8 whatever the locale says: keywords come in every script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextmanager
def terminable() -> Iterator[None]:
    """Let a request to terminate, or a closed terminal, end the program as Ctrl-C does."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
