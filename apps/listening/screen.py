"""What a listener sees: a live screen, plain lines, or JSON lines."""

import html
import io
import re
import sys
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Protocol, Self

import click
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.terminal_theme import DIMMED_MONOKAI

from kws.detector import Detection
from kws.errors import KwsError
from kws.files import FULL, write_text

from ..signals import suspendable
from ..terminal import is_in_background, is_stuck, json_line, one_line
from .live import LiveEngine
from .panels import KEYS, Picture, State, Traces, apart, keyed, losses

FRAME_SECONDS: Final = 0.1  # between two drawings, at least
METER_SECONDS: Final = 1.0  # over which the processor's share is taken
KEPT: Final = 100  # detections, as many as the highest terminal shows
NOTE_SECONDS = 15.0  # that a sentence stays
LOSS_SECONDS: Final = 600.0  # between two lines about lost audio, at least
COLUMNS, ROWS = 96, 27  # of a screen without a terminal
WRAP, NO_WRAP = "\x1b[?7h", "\x1b[?7l"  # DECAWM


class Source(Protocol):
    """Where the audio comes from."""

    @property
    def name(self) -> str:
        """A device or a file."""
        ...

    @property
    def dropped(self) -> int:
        """Blocks that the reader was too slow for."""
        ...

    @property
    def overruns(self) -> int:
        """Times that the sound system itself lost audio."""
        ...

    @property
    def trouble(self) -> str:
        """Why nothing is heard for now, if so."""
        ...


class Show(Protocol):
    """Tells people or programs what is heard."""

    def ready(self) -> None:
        """The first audio has arrived."""
        ...

    def switched(self) -> None:
        """Another language is active."""
        ...

    def note(self, sentence: str) -> None:
        """Something else has happened."""
        ...

    def update(self, found: Sequence[Detection]) -> None:
        """A block has been heard, with these detections."""
        ...

    def ended(self) -> None:
        """Nothing more comes."""
        ...


class Lines:
    """One line for a detection on standard output, all else on standard error.

    Args:
        live: standard output that is full or not read holds up no listening; what was heard
            meanwhile is written later or left out. A file can be heard again.
        keyless: whether no key can be typed.

    """

    def __init__(
        self,
        engine: LiveEngine,
        source: Source,
        *,
        as_json: bool = False,
        live: bool = False,
        keyless: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._source = source
        self._keyless = keyless
        self._as_json = as_json
        self._live = live
        self._clock = clock
        self._due = clock()  # from when on losses of audio are told
        self._lost = 0, 0, 0  # told so far
        self._trouble = ""  # with standard output

    def ready(self) -> None:
        keys = ", ".join(f"{key} {language}".strip() for key, language in keyed(self._engine))
        told = "" if self._keyless() else f"; keys: {keys}, {KEYS}"
        self.note(f"listening on {self._source.name} in {self._engine.language}{told}")

    def switched(self) -> None:
        self.note(f"listening in {self._engine.language}")

    def note(self, sentence: str) -> None:
        if self._live and is_stuck(sys.stderr):
            return
        with suppress(OSError):  # a log that cannot be written ends no listening
            click.echo(one_line(sentence), err=True)

    def update(self, found: Sequence[Detection]) -> None:
        for event in found:
            self._print(json_line(event.as_dict()) if self._as_json else line(event))
        if self._clock() >= self._due:
            self._tell_losses()

    def ended(self) -> None:
        self._tell_losses()

    def _tell_losses(self) -> None:
        lost = self._source.dropped, self._source.overruns, self._engine.non_finite
        if lost == self._lost:
            return
        new = (now - before for now, before in zip(lost, self._lost, strict=True))
        in_all = f"; in all {losses(*lost)}" if any(self._lost) else ""
        self.note(f"audio was lost: {losses(*new)}{in_all}")
        self._lost, self._due = lost, self._clock() + LOSS_SECONDS

    def _print(self, text: str) -> None:
        """Write a line; that a live one finds no room is told once."""
        trouble = ""
        try:
            if self._live and is_stuck(sys.stdout):
                trouble = "standard output is not read"
            else:
                click.echo(text)
        except BrokenPipeError as error:
            raise KwsError(
                "the program that standard output went to has ended; start both again"
            ) from error
        except OSError as error:
            if not self._live or error.errno not in FULL:
                raise
            trouble = "standard output is full"
        if trouble != self._trouble:
            self._trouble = trouble
            goes_on = f"{trouble}; listening goes on without it"
            self.note(goes_on if trouble else "standard output takes lines again")


class Tee:
    """Several at once, as lines for a program and a picture for people."""

    def __init__(self, *shows: Show) -> None:
        self._shows = shows

    def ready(self) -> None:
        for show in self._shows:
            show.ready()

    def switched(self) -> None:
        for show in self._shows:
            show.switched()

    def note(self, sentence: str) -> None:
        for show in self._shows:
            show.note(sentence)

    def update(self, found: Sequence[Detection]) -> None:
        for show in self._shows:
            show.update(found)

    def ended(self) -> None:
        for show in self._shows:
            show.ended()


def wrap(console: Console, *, on: bool) -> None:
    """Whether a line that is too long goes on in the next.

    Terminals give some marks of Indic scripts a cell that Rich does not count.
    """
    if console.is_terminal and not console.legacy_windows:
        console.file.write(WRAP if on else NO_WRAP)
        console.file.flush()


class Screen:
    """The whole terminal, drawn anew at most ten times a second; the last picture stays behind.

    Args:
        keyless: whether no key can be typed.
        cpu: seconds of processor time that this process has used so far.

    """

    def __init__(
        self,
        engine: LiveEngine,
        source: Source,
        console: Console | None = None,
        *,
        keyless: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._engine = engine
        self._source = source
        self._keyless = keyless
        self._clock = clock
        self._drawn = clock()
        self._meter = Meter(clock, cpu)
        self._traces = Traces()
        self._traces.update(engine)
        self._found: deque[Detection] = deque(maxlen=KEPT)
        self._note, self._noted = "", clock()
        self._suspended = ExitStack()
        self._away = False  # from the terminal, in the background
        self._console = console or Console()
        self._live = Live(
            self._picture(), console=self._console, screen=True, auto_refresh=False, transient=True
        )

    def __enter__(self) -> Self:
        """Take the terminal."""
        wrap(self._console, on=False)
        self._live.start(refresh=True)
        self._suspended.enter_context(suspendable(self._leave, self._come_back))
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the terminal back, the last picture on it, unless another program has it."""
        self._suspended.close()
        if is_in_background(self._console.file):
            self._console.file = io.StringIO()
        self._live.stop()
        self._console.print(self._picture(), height=self._console.height - 1, end="")
        wrap(self._console, on=True)

    def _leave(self) -> None:
        if is_in_background(self._console.file):  # it was left before
            return
        self._console.set_alt_screen(False)
        self._console.show_cursor(True)
        wrap(self._console, on=True)

    def _come_back(self) -> None:
        """After a stop; in the background not before it comes back to the front."""
        self._away = is_in_background(self._console.file)
        if self._away:
            return
        wrap(self._console, on=False)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)
        self._live.refresh()

    @property
    def found(self) -> tuple[Detection, ...]:
        """The last detections."""
        return tuple(self._found)

    def save(self, path: Path) -> None:
        """Write the screen as it is now as an SVG, which names no font of another place."""
        console = no_terminal(record=True)
        console.print(self._picture(), height=console.height - 1, end="")
        drawn = console.export_svg(title="kws listen", theme=DIMMED_MONOKAI)
        drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
        write_text(path, _WRITTEN.sub(_as_wide_as_its_cells, drawn))

    def ready(self) -> None:
        self._draw()

    def switched(self) -> None:
        self._traces.update(self._engine)
        self._draw()

    def note(self, sentence: str) -> None:
        # Drawn with the next picture: it may come from another thread.
        self._note, self._noted = sentence, self._clock()

    def update(self, found: Sequence[Detection]) -> None:
        self._found.extend(found)
        self._traces.update(self._engine)
        if self._clock() - self._drawn >= FRAME_SECONDS:
            self._draw()

    def ended(self) -> None:
        """The last picture shows all that was lost."""

    def _draw(self) -> None:
        self._drawn = self._clock()
        if self._away:
            self._come_back()
        if not self._away:
            self._live.update(self._picture(), refresh=True)

    def _picture(self) -> Picture:
        state = State(
            self._engine,
            self._traces,
            self._source.name,
            self._source.dropped,
            self._source.overruns,
            tuple(self._found),
            self._meter.share(),
            self._note if self._clock() - self._noted < NOTE_SECONDS else self._source.trouble,
            keys=not self._keyless(),
        )
        return Picture(state)


_WRITTEN: Final = re.compile(r'textLength="([\d.]+)"([^>]*>)([^<]+)')


def _as_wide_as_its_cells(found: re.Match[str]) -> str:
    """Rich counts characters; those of some scripts take two cells, and marks none of their own.

    Where a mark takes room of its own, as in Hindi, only who draws it knows how much.
    """
    length, between, text = found.groups()
    said = html.unescape(text)
    if any(unicodedata.category(letter) == "Mc" for letter in said):
        return between.lstrip() + text
    return f'textLength="{float(length) * cell_len(said) / len(said):g}"{between}{text}'


class _Nowhere(io.TextIOBase):
    """A file that keeps nothing of what is written."""

    def write(self, text: str, /) -> int:
        return len(text)


def no_terminal(*, record: bool = False) -> Console:
    """A console that nobody sees."""
    return Console(
        file=_Nowhere(),  # type: ignore[arg-type]  # as a text file is written to
        width=COLUMNS,
        height=ROWS,
        force_terminal=True,
        color_system="truecolor",
        record=record,
    )


class Meter:
    """The share of one processor core that was used over the last second or so."""

    def __init__(self, clock: Callable[[], float], cpu: Callable[[], float]) -> None:
        self._clock, self._cpu = clock, cpu
        self._since = clock(), cpu()
        self._share: float | None = None

    def share(self) -> float | None:
        """None in the first second."""
        now = self._clock(), self._cpu()
        passed = now[0] - self._since[0]
        if passed >= METER_SECONDS:
            self._share = (now[1] - self._since[1]) / passed
            self._since = now
        return self._share


def line(event: Detection) -> str:
    """One detection, readable.

    >>> line(Detection("北京", "cmn", 0.934, 12.4))
    '   12.40 s  cmn  北京  0.93'
    """
    return f"{event.time:8.2f} s  {event.language}  {apart(event.keyword)}  {event.score:.2f}"
