"""What a person sees who is asked for words: lines, or a small live picture."""

import io
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final, Protocol, Self

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment

from audio_data.takes import Take, decibels

from ..signals import suspendable
from ..terminal import is_in_background
from .panels import Line, fitted, level_line, piece, spark
from .screen import Source, wrap

WAVE: Final = 60  # columns of a waveform, at most
NOTES: Final = 3  # sentences that stay on the screen
ASK: Final = "Enter keeps it, r records it again, q quits"
QUIET: Final = "u deletes the last clip, q quits"

Wave = NDArray[np.float32]


class Prompt(Protocol):
    """Tells a person what to do and what became of it."""

    def word(self, word: str, number: int, total: int) -> None:
        """Ask for a word."""
        ...

    def speak(self) -> None:
        """The recording begins."""
        ...

    def level(self, block: Wave) -> None:
        """So much has been recorded just now."""
        ...

    def heard(self, take: Take, problem: str | None) -> None:
        """The recording has ended, and has been found good or not."""
        ...

    def ask(self) -> None:
        """A key is needed."""
        ...

    def note(self, sentence: str) -> None:
        """Something else has happened."""
        ...


class PromptLines:
    """Lines on standard error."""

    def __enter__(self) -> Self:
        """Need nothing."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave nothing behind."""

    def word(self, word: str, number: int, total: int) -> None:
        self.note(f"say: {word} ({number} of {total})")

    def speak(self) -> None:
        self.note("now")

    def level(self, block: Wave) -> None: ...

    def heard(self, take: Take, problem: str | None) -> None:
        self.note(f"rejected: {problem}" if problem else f"good: {verdict(take)}")

    def ask(self) -> None:
        self.note(ASK)

    def note(self, sentence: str) -> None:
        click.echo(sentence, err=True)


class PromptScreen:
    """A few lines at the bottom of the terminal, drawn anew with every block.

    Args:
        keyless: whether no key can be typed.

    """

    def __init__(
        self,
        source: Source,
        console: Console | None = None,
        *,
        keyless: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self._keyless = keyless
        self._word, self._place, self._sign = "", "", ""
        self._level = decibels(0)  # dBFS
        self._take: Take | None = None
        self._verdict = ("", "")  # and its style
        self._keys = QUIET
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._console = console or Console(file=sys.stderr)
        self._live = Live(self, console=self._console, auto_refresh=False)
        self._suspended = ExitStack()

    def __enter__(self) -> Self:
        """Take the lower part of the terminal."""
        wrap(self._console, on=False)
        self._live.start(refresh=True)
        leave, come_back = partial(self._give, away=True), partial(self._give, away=False)
        self._suspended.enter_context(suspendable(leave, come_back))
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the last picture standing."""
        self._suspended.close()
        if is_in_background(self._console.file):
            self._console.file = io.StringIO()
        self._live.stop()
        wrap(self._console, on=True)

    def word(self, word: str, number: int, total: int) -> None:
        self._word, self._place, self._sign = word, f"{number} of {total}", "wait"
        self._keys = QUIET
        self._draw()

    def speak(self) -> None:
        self._sign = "SPEAK"
        self._take, self._verdict, self._keys = None, ("", ""), QUIET

    def level(self, block: Wave) -> None:
        if len(block):
            self._level = decibels(float(np.mean(np.square(block, dtype=np.float64))))
        self._draw()

    def heard(self, take: Take, problem: str | None) -> None:
        self._sign, self._take = "wait", take
        self._verdict = (f"again: {problem}", "red") if problem else (verdict(take), "green")
        self._draw()

    def ask(self) -> None:
        self._sign, self._keys = "good?", ASK
        self._draw()

    def note(self, sentence: str) -> None:
        self._notes.append(sentence)
        self._draw()

    def _draw(self) -> None:
        if not is_in_background(self._console.file):
            self._live.refresh()

    def _give(self, *, away: bool) -> None:
        """Give the terminal away, or take it again, where it is not another's."""
        if not is_in_background(self._console.file):
            self._console.show_cursor(away)
            wrap(self._console, on=away)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw at most nine lines, none longer than the terminal is wide."""
        width = options.max_width
        sign = "bold reverse red" if self._sign == "SPEAK" else "dim"
        shape = spark(envelope(self._take.wave, min(WAVE, width))) if self._take else ""
        lines: list[Line] = [
            [piece("kws collect ", "bold"), piece(self._source.name)],
            [
                piece(f"{self._place:>10}  "),
                piece(self._word, "bold"),
                piece("   "),
                piece(f" {self._sign} ", sign),
            ],
            level_line(self._level, width),
            [piece(shape, "cyan")],
            [piece(*self._verdict)],
            *([piece(note, "yellow")] for note in self._notes),
            *([] if self._keyless() else [[piece(self._keys, "dim")]]),
        ]
        for line in lines[: options.height or options.size.height]:
            yield from fitted(line, width)
            yield Segment.line()


def verdict(take: Take) -> str:
    """What there is to say of a good clip.

    >>> verdict(Take(np.zeros(9, np.float32), 0.52, -20.4))
    '0.52 s, -20 dBFS'
    >>> verdict(Take(np.zeros(9, np.float32), 1.31, -18.0))
    '1.31 s, -18 dBFS, of which only the loudest second is heard'
    """
    cut = ", of which only the loudest second is heard" if take.seconds > 1 else ""
    return f"{take.seconds:.2f} s, {take.level:.0f} dBFS{cut}"


def envelope(wave: Wave, columns: int) -> NDArray[np.float32]:
    """The peaks of so many equal parts of ``[T]``, relative to the highest: ``[columns]``."""
    if not len(wave) or columns < 1:
        return np.zeros(0, np.float32)
    parts = np.array_split(np.abs(wave), min(columns, len(wave)))
    peaks = np.array([part.max() for part in parts], np.float32)
    return np.asarray(peaks / max(float(peaks.max()), 1e-9), np.float32)
