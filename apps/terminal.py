"""Writing in any script, and what may be written and drawn where."""

import io
import json
import os
import select
import shutil
import sys
import textwrap
from typing import IO, TextIO

import click

from kws.names import steers


def fill_standard_streams() -> None:
    """Open the null device where standard input, output or error is closed.

    Else the next file that is opened would take its number, and a program that is started would
    write into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number free


def write_any_script() -> None:
    """Print UTF-8 whatever the locale says: keywords come in every script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def one_line(sentence: str) -> str:
    r"""A sentence in one line that steers no terminal, whatever a file's name put into it.

    >>> print(one_line("a\nb \x1b[2J नहीं\u200d"))
    a b \x1b[2J नहीं‍
    """
    line = " ".join(sentence.splitlines())
    return "".join(ascii(letter)[1:-1] if steers(letter) else letter for letter in line)


def complain(sentence: object) -> None:
    """Say on standard error what is wrong."""
    click.echo(f"kws: {one_line(str(sentence))}", err=True)


def json_line(record: object) -> str:
    """One line of JSON in its own script."""
    return json.dumps(record, ensure_ascii=False)


def folded(text: str, width: int | None = None) -> str:
    """Lines no longer than the terminal is wide, if they go to one; words stay whole.

    So do rows of tables, which are indented.

    >>> print(folded("note: such as this", 12))
    note: such
      as this
    >>> print("right:" + folded("  99.0%     12  name", 12))
    right:  99.0%     12  name
    """
    if width is None and not (sys.stdout and sys.stdout.isatty()):
        return text
    columns = width or shutil.get_terminal_size().columns
    lines = (
        textwrap.wrap(
            line,
            columns,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=False,
        )
        if len(line) > columns and not line.startswith("  ")
        else [line]
        for line in text.splitlines()
    )
    return "\n".join(part.rstrip() for parts in lines for part in parts)


def can_draw(stream: TextIO | None) -> bool:
    """Whether a picture can be drawn there again and again.

    It can on a terminal that moves its cursor, and that no other program has.
    """
    from rich.console import Console  # which --help does without

    if stream is None or not stream.isatty() or is_in_background(stream):
        return False
    return not Console(file=stream).is_dumb_terminal


def is_in_background(stream: IO[str]) -> bool:
    """Whether a stream is a terminal that another program has."""
    try:
        return stream.isatty() and in_background(stream.fileno())
    except (OSError, ValueError):  # no file behind it
        return False


def in_background(terminal: int) -> bool:
    """Whether another program has the terminal that controls this one; not told on Windows."""
    if not hasattr(os, "tcgetpgrp"):
        return False
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:  # not the terminal that controls this program
        return False


def is_stuck(stream: IO[str] | None) -> bool:
    """Whether a line would have to wait: a pipe is full, a terminal halted; not told on Windows.

    A pipe or socket that is not stuck takes a line whole, a file always.
    """
    try:
        return stream is not None and not select.select([], [stream], [], 0)[1]
    except (OSError, ValueError):  # no file behind it
        return False
