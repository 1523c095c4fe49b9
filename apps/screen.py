"""What a listener sees: a live screen, plain lines, or JSON lines."""

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

import click
import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kws.detector import Detection
from kws.engine import Engine

FRAME_SECONDS: Final = 0.1  # between two drawings, at least
ROWS: Final = 8  # keywords and detections shown
QUIET: Final = -60.0  # dBFS, the left end of the level bar
LOUD: Final = (-12.0, -3.0)  # dBFS, where the bar turns yellow and red


class Source(Protocol):
    """Where the audio comes from."""

    @property
    def name(self) -> str:
        """A device or a file."""
        ...

    @property
    def dropped(self) -> int:
        """Blocks that were lost so far."""
        ...


class Show(Protocol):
    """Tells people or programs what is heard."""

    def ready(self) -> None:
        """The first audio has arrived."""
        ...

    def switched(self) -> None:
        """Another language is active."""
        ...

    def update(self, found: Sequence[Detection]) -> None:
        """A block has been heard, with these detections."""
        ...


class Lines:
    """One line for a detection on standard output, all else on standard error."""

    def __init__(self, engine: Engine, source: Source, *, as_json: bool = False) -> None:
        self._engine = engine
        self._source = source
        self._as_json = as_json

    def __enter__(self) -> Self:
        """Need nothing."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing behind."""

    def ready(self) -> None:
        keys = ", ".join(f"{key} {language}".strip() for key, language in keyed(self._engine))
        click.echo(
            f"listening on {self._source.name} in {self._engine.language}; "
            f"keys: {keys}, Tab next, q quit",
            err=True,
        )

    def switched(self) -> None:
        click.echo(f"listening in {self._engine.language}", err=True)

    def update(self, found: Sequence[Detection]) -> None:
        for event in found:
            click.echo(json_line(event.as_dict()) if self._as_json else line(event))


class Screen:
    """A screen that is drawn anew at most ten times a second, and once more at the end."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._source = source
        self._clock = clock
        self._drawn = clock()
        self._found: deque[Detection] = deque(maxlen=ROWS)
        self._live = Live(self._picture(), console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Take the lower part of the terminal."""
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture standing."""
        self._draw()
        self._live.stop()

    def ready(self) -> None:
        self._draw()

    def switched(self) -> None:
        self._draw()

    def update(self, found: Sequence[Detection]) -> None:
        self._found.extend(found)
        if self._clock() - self._drawn >= FRAME_SECONDS:
            self._draw()

    def _draw(self) -> None:
        self._drawn = self._clock()
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        return picture(self._engine, self._source, self._found)


def keyed(engine: Engine) -> list[tuple[str, str]]:
    """Every language with the key that selects it, if it is among the first nine."""
    return [
        (str(number) if number < 10 else "", language)
        for number, language in enumerate(engine.languages, start=1)
    ]


def line(event: Detection) -> str:
    """One detection, readable.

    >>> line(Detection("北京", "cmn", 0.934, 12.4))
    '   12.40 s  cmn  北京  0.93'
    """
    return f"{event.time:8.2f} s  {event.language}  {event.keyword}  {event.score:.2f}"


def json_line(record: object) -> str:
    """One line of JSON in its own script."""
    return json.dumps(record, ensure_ascii=False)


def picture(engine: Engine, source: Source, found: Sequence[Detection]) -> RenderableType:
    """The whole screen: 14 lines of 80 columns where the languages fit in one."""
    columns = Table.grid(expand=True)
    columns.add_column(ratio=1)
    columns.add_column(ratio=1)
    columns.add_row(
        Panel(_keywords(engine), title=Text(f"keywords of {engine.language}"), height=ROWS + 2),
        Panel(_detections(found), title="heard", height=ROWS + 2),
    )
    return Group(_title(engine, source), _level(engine), _languages(engine), columns)


def _title(engine: Engine, source: Source) -> RenderableType:
    lost = f"{source.dropped} blocks dropped"
    title = Table.grid(expand=True)
    title.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    title.add_column(no_wrap=True, justify="right")
    title.add_row(
        Text.assemble(("kws listen ", "bold"), source.name),
        Text.assemble(
            f" {engine.seconds:.1f} s heard, ", (lost, "bold red" if source.dropped else "dim")
        ),
    )
    return title


def _level(engine: Engine) -> RenderableType:
    quiet, loud = (engine.level < bound for bound in LOUD)
    colour = "green" if quiet else "yellow" if loud else "red"
    level = Table.grid(padding=(0, 1), expand=True)
    level.add_column(width=5)
    level.add_column(ratio=1)
    level.add_column(justify="right", width=10)
    level.add_row("level", _bar(1 - engine.level / QUIET, colour), f"{engine.level:.0f} dBFS")
    return level


def _languages(engine: Engine) -> RenderableType:
    text = Text()
    for key, language in keyed(engine):
        text.append(
            f" {key} {language} ", "bold reverse" if language == engine.language else ""
        ).append(" ")
    return text.append(" Tab next, q quit", "dim")


def _keywords(engine: Engine) -> RenderableType:
    scores = np.round(engine.scores, 2)
    best = np.argsort(-scores, kind="stable")[:ROWS]  # the quiet ones keep their places
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", width=14)
    table.add_column(ratio=1)
    table.add_column(justify="right", width=4)
    for index in best:
        score = float(scores[index])
        table.add_row(Text(engine.labels[index]), _bar(score, "cyan"), f"{score:.2f}")
    return table


def _detections(found: Sequence[Detection]) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(justify="right", no_wrap=True)
    for event in found:
        keyword = Text(event.keyword, "bold")
        table.add_row(f"{event.time:.2f} s", Text(event.language), keyword, f"{event.score:.2f}")
    return table


def _bar(filled: float, colour: str) -> ProgressBar:
    return ProgressBar(
        total=1, completed=min(max(filled, 0), 1), complete_style=colour, finished_style=colour
    )
