"""Writing in any script, and ending as the system asks."""

import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

ENDS: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def write_any_script() -> None:
    """Print UTF-8 whatever the locale says: keywords come in every script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def json_line(record: object) -> str:
    """One line of JSON in its own script."""
    return json.dumps(record, ensure_ascii=False)


def can_draw(stream: TextIO | None) -> bool:
    """Whether a picture can be drawn there again and again: on a terminal that moves its cursor."""
    from rich.console import Console  # which --help does without

    return stream is not None and stream.isatty() and not Console(file=stream).is_dumb_terminal


@contextmanager
def terminable() -> Iterator[None]:
    """Let a request to terminate, or a closed terminal, end the program as Ctrl-C does.

    What whoever started the program had it ignore, as nohup does, stays ignored.
    """

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    heard = [number for number in ENDS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
