"""Keys from terminals and pipes."""

import io
import os
import pty
import signal
import sys
import termios

import pytest

from apps.listening.keys import Keys
from apps.signals import suspendable
from apps.terminal import can_draw, is_in_background


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


def test_ctrl_z_leaves_the_terminal_before_it_stops_and_takes_it_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The picture before the keys, and back in the other order; afterwards all is as it was."""
    did: list[str] = []
    monkeypatch.setattr("apps.signals.os.kill", lambda *_: did.append("stop"))
    before = signal.getsignal(signal.SIGTSTP)
    keys = suspendable(lambda: did.append("keys out"), lambda: did.append("keys in"))
    screen = suspendable(lambda: did.append("screen out"), lambda: did.append("screen in"))
    with keys, screen:
        for _ in range(2):
            signal.raise_signal(signal.SIGTSTP)
    assert did == ["screen out", "keys out", "stop", "keys in", "screen in"] * 2
    assert signal.getsignal(signal.SIGTSTP) == before


def test_ctrl_z_that_whoever_started_it_had_it_ignore_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a shell without job control has it: nobody could let the program go on."""
    did: list[str] = []
    monkeypatch.setattr("apps.signals.os.kill", lambda *_: did.append("stop"))
    before = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        with suspendable(lambda: did.append("out"), lambda: did.append("in")):
            signal.raise_signal(signal.SIGTSTP)
        assert signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTSTP, before)
    assert did == []


def test_a_sequence_may_come_in_two_pieces_and_escape_alone() -> None:
    reading, writing = os.pipe()
    with open(reading) as stream, Keys(stream) as keys:
        for typed, heard in (
            (b"a\x1b", "a"),
            (b"[A", ""),
            (b"b\x1b[1;", "b"),
            (b"5Cc", "c"),
            (b"\x1b", ""),
        ):
            os.write(writing, typed)
            assert keys.poll() == heard
        assert keys.poll() == ""  # nothing follows: it was the key itself
        os.write(writing, b"q\x1b")
        os.close(writing)
        assert [keys.poll() for _ in range(3)] == ["q", "", ""]


def test_in_the_background_a_terminal_is_left_alone_until_it_is_in_front_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Touching it would stop the program: as after Ctrl-Z and bg."""
    typing, terminal = pty.openpty()
    with open(terminal) as stream, Keys(stream) as keys:
        behind: list[bool] = []  # true while there is something in it
        monkeypatch.setattr("apps.listening.keys.in_background", lambda terminal: bool(behind))
        shells = termios.tcgetattr(terminal)
        shells[3] |= termios.ICANON | termios.ECHO

        def stopped(*_: object) -> None:
            behind.append(True)
            termios.tcsetattr(terminal, termios.TCSANOW, shells)

        monkeypatch.setattr("apps.signals.os.kill", stopped)
        signal.raise_signal(signal.SIGTSTP)
        assert termios.tcgetattr(terminal)[3] & termios.ICANON
        os.write(typing, b"q\n")
        assert keys.poll() == ""
        behind.clear()
        assert keys.poll() == "q\n"
        assert not termios.tcgetattr(terminal)[3] & termios.ICANON
    os.close(typing)


def test_started_in_the_background_it_hears_keys_once_it_is_in_front(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with & and fg; until then the terminal is as others have it."""
    behind = [True]
    monkeypatch.setattr("apps.listening.keys.in_background", lambda terminal: bool(behind))
    typing, terminal = pty.openpty()
    with open(terminal) as stream:
        before = termios.tcgetattr(terminal)
        with Keys(stream) as keys:
            os.write(typing, b"q\n")
            assert (keys.poll(), keys.closed) == ("", True)
            assert termios.tcgetattr(terminal) == before
            behind.clear()
            assert (keys.poll(), keys.closed) == ("q\n", False)
            assert not termios.tcgetattr(terminal)[3] & termios.ICANON
        assert termios.tcgetattr(terminal) == before
    os.close(typing)


def test_a_terminal_that_is_gone_when_it_would_be_in_front_ends_the_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a program in the background whose window is closed."""
    typing, terminal = pty.openpty()
    with open(terminal) as stream, Keys(stream) as keys:
        behind = [True]
        monkeypatch.setattr("apps.listening.keys.in_background", lambda terminal: bool(behind))
        monkeypatch.setattr("apps.signals.os.kill", lambda *_: None)
        signal.raise_signal(signal.SIGTSTP)
        assert keys.poll() == ""
        os.close(typing)
        behind.clear()
        assert keys.poll() == ""
        assert keys.closed


def test_where_nobody_can_be_in_the_background_all_is_in_front(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows."""
    monkeypatch.delattr("os.tcgetpgrp")
    typing, terminal = pty.openpty()
    with open(terminal, "r+b", buffering=0) as raw, io.TextIOWrapper(raw) as stream:
        assert not is_in_background(stream)
        for kind, drawn in (("xterm", True), ("dumb", False)):
            monkeypatch.setenv("TERM", kind)
            assert can_draw(stream) is drawn
    os.close(typing)


def test_where_terminals_cannot_be_set_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setitem(sys.modules, "termios", None)
    typing, terminal = pty.openpty()
    with open(terminal) as stream, Keys(stream) as keys:
        os.write(typing, b"q\n")
        assert keys.poll() == ""
        assert keys.closed
    os.close(typing)


def test_a_terminal_that_is_gone_needs_nothing_back() -> None:
    """Its window was closed."""
    typing, terminal = pty.openpty()
    with open(terminal) as stream, Keys(stream):
        os.close(typing)
