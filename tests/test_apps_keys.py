"""Keys from terminals and pipes."""

import io
import os
import pty
import sys
import termios

import pytest

from apps.keys import Keys


def test_a_pipe_is_read_as_it_comes_and_its_end_is_no_key() -> None:
    reading, writing = os.pipe()
    with open(reading) as stream, Keys(stream) as keys:
        assert keys.poll() == ""
        os.write(writing, b"2\n")
        assert keys.poll() == "2\n"
        os.write(writing, b"q")
        os.close(writing)
        assert [keys.poll() for _ in range(3)] == ["q", "", ""]


def test_cursor_and_function_keys_are_not_digits() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"\x1b[A\x1b[15~2\x1bOP\x1b[1;5C\x1b3\xc3\xa9\x1b")
    os.close(writing)
    with open(reading) as stream, Keys(stream) as keys:
        assert keys.poll() == "2é"


def test_a_terminal_gives_single_keys_and_is_restored() -> None:
    typing, terminal = pty.openpty()
    with open(terminal) as stream:
        before = termios.tcgetattr(terminal)
        with Keys(stream) as keys:
            assert not termios.tcgetattr(terminal)[3] & (termios.ICANON | termios.ECHO)
            assert termios.tcgetattr(terminal)[3] & termios.ISIG  # Ctrl-C still interrupts
            os.write(typing, b"\t")
            assert keys.poll() == "\t"
        assert termios.tcgetattr(terminal) == before
    os.close(typing)


def test_without_standard_input_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with Keys(io.StringIO("q")) as keys:
        assert keys.poll() == ""
    monkeypatch.setattr(sys, "stdin", None)
    with Keys() as keys:
        assert keys.poll() == ""
