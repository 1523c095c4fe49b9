"""Run a program when a keyword is heard."""

import errno
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kws.detector import Detection
from kws.errors import KwsError, UsageError

from ..terminal import json_line
from .worker import CAPACITY, Tell, Worker

TIMEOUT: Final = 10.0  # seconds that a run may take
LONGEST_TIMEOUT: Final = 86_400.0  # seconds that may be allowed
SHELLS: Final = (
    "sh",
    "ash",
    "bash",
    "dash",
    "zsh",
    "ksh",
    "mksh",
    "csh",
    "tcsh",
    "fish",
    "nu",
    "cmd",
)
EXPANDED: Final = r"\$(?:\w+|\{[^}]*\}|\()|`"  # by a shell, unless in single quotes
UNQUOTED: Final = rf"{EXPANDED}|[<>|&;]+|(?<!\S)~(?=[/\s]|\Z)"  # of what only a shell understands
PARTS: Final = re.compile(
    rf"""\\.|'[^']*'|"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<odd>{UNQUOTED})""", re.DOTALL
)
KILL_TIMEOUT: Final = 1.0  # seconds that a killed run may take to be gone


class ProgramRunner:
    """Runs a program for each detection, one after another, beside the listener.

    No shell is involved: the words of the command are fixed, and what was heard comes as
    environment variables and as JSON on standard input. A run that takes too long is ended,
    with all that it started.

    Args:
        text: program and arguments, quoted as for a shell.
        tell: takes a sentence when a run fails.
        timeout: seconds that a run may take.
        capacity: detections that may wait; None for any number.
        quiet: whether to throw away what it prints; else that goes to standard error.

    Raises:
        UsageError: the text is empty or badly quoted, or there is no such program.

    """

    def __init__(
        self,
        text: str,
        tell: Tell,
        *,
        timeout: float = TIMEOUT,
        capacity: int | None = CAPACITY,
        quiet: bool = False,
    ) -> None:
        self._arguments = parse(text)
        self._tell = tell
        self._timeout = timeout
        self._output = subprocess.DEVNULL if quiet else 2  # standard error
        self._running: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._worker = Worker("--exec", tell, capacity)

    def hear(self, samples: NDArray[np.float32], found: Sequence[Detection]) -> None:
        """Run it once for each detection; returns at once."""
        for event in found:
            self._worker.submit(partial(self._run, event))

    def close(self, timeout: float | None = None) -> None:
        """Let the runs end, but wait no longer than ``timeout`` seconds; then end them.

        What still waits then is not begun.
        """
        if not self._worker.close(timeout):
            self._tell("--exec: not all commands were run to their end")
            self._ended = True
            if process := self._running:  # read once: the worker forgets it when it ends
                _kill(process)
            self._worker.close(KILL_TIMEOUT)

    def _start(self, event: Detection) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                env=os.environ | variables(event),
                start_new_session=True,  # so that it can be ended as a whole, and Ctrl-C spares it
            )
        except OSError as error:
            what = error.strerror
            if error.errno in (errno.ENOENT, errno.ENOEXEC):
                there = shutil.which(self._arguments[0])
                wrong = "its first line names no program that exists"
                what = wrong if there else "it is not there any more; put it back"
            raise KwsError(f"{self._arguments[0]} cannot be run: {what}") from error

    def _run(self, event: Detection) -> None:
        if self._ended:
            return
        with self._start(event) as process:
            self._running = process
            if self._ended:  # while it was being started
                _kill(process)
            record = json_line(event.as_dict()) + "\n"
            try:
                process.communicate(record.encode(errors="replace"), timeout=self._timeout)
            except subprocess.TimeoutExpired:
                ended = _kill(process)
                how = "was ended" if ended else "runs as another user, so it has to end by itself"
                self._tell(f"{self._name} took more than {self._timeout:g} s and {how}")
            else:
                if process.returncode and not self._ended:
                    self._tell(f"{self._name} {_outcome(process.returncode)}")
            self._running = None

    @property
    def _name(self) -> str:
        return f"--exec: {self._arguments[0]}"


def _outcome(code: int) -> str:
    """What a program that did not succeed came to; its code is negative where a signal ended it."""
    return f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"


def parse(text: str) -> list[str]:
    """Split a command into its words, and make sure that there is such a program."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    if os.name == "nt":  # where they part folders
        lexer.escape = ""
    try:
        arguments = list(lexer)
    except ValueError as error:
        raise UsageError(f"--exec {text!r} is badly quoted: {error}") from None
    if not arguments:
        raise UsageError("--exec needs a command, for example --exec 'notify-send keyword'")
    if not shutil.which(arguments[0]):
        if os.path.dirname(arguments[0]) and os.path.isfile(arguments[0]):
            allow = f"chmod +x {shlex.quote(arguments[0])}"
            raise UsageError(f"--exec: {arguments[0]!r} may not be run; allow it: {allow}")
        raise UsageError(f"--exec: there is no program {arguments[0]!r}; give its whole path")
    shell = any(Path(argument).stem.lower() in SHELLS for argument in arguments)
    if not shell and (odd := _for_a_shell(text)):
        raise UsageError(
            f"--exec starts no shell, and only a shell understands {odd!r}; put it in single "
            "quotes if it is meant as it stands, or start one: "
            f"--exec {shlex.quote('sh -c ' + shlex.quote(text))}"
        )
    return arguments


def _for_a_shell(text: str) -> str | None:
    """What of a command, well quoted, a shell would not leave as it stands; the first of it."""
    if os.name == "nt":  # where nothing is escaped
        text = text.replace("\\", "/")
    for part in PARTS.finditer(text):
        quoted = re.sub(r"\\.", "", part["quoted"] or "", flags=re.DOTALL)
        if found := [part["odd"]] if part["odd"] else re.findall(EXPANDED, quoted):
            return str(found[0])
    return None


def variables(event: Detection) -> dict[str, str]:
    """What was heard, as environment variables.

    >>> variables(Detection("go", "eng", 0.98765, 1.28))["KWS_SCORE"]
    '0.9877'
    """
    fields = {f"KWS_{name.upper()}": str(value) for name, value in event.as_dict().items()}
    return {name: _environmental(value) for name, value in fields.items()}


def _environmental(text: str) -> str:
    """UTF-8 whatever the locale says, without the one character that cannot be passed."""
    return os.fsdecode(text.replace("\0", "").encode(errors="replace"))


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """End a process and, but for Windows, what it started; False where it is another user's."""
    if not hasattr(os, "killpg"):
        process.kill()
        return True
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    except PermissionError:
        return False
    return True
