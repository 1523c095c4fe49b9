"""Progress on standard error, so that standard output holds results alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from .terminal import one_line

if TYPE_CHECKING:
    from kws.train import Watch

CONSOLE = Console(stderr=True, markup=False, emoji=False, highlight=False)
_SUBJECT: ContextVar[str] = ContextVar("subject", default="")  # of notes, before them


def duration(hours: float) -> str:
    """How long sound is, in a unit that does not round it away, for people.

    >>> duration(0.154), duration(0.033), duration(0.002)
    ('0.15 h', '2.0 min', '7 s')
    """
    if hours >= 0.1:
        return f"{hours:.2f} h"
    seconds = hours * 3600
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def counted(count: int, what: str) -> str:
    """So many of a thing.

    >>> counted(1, "run"), counted(20, "run")
    ('1 run', '20 runs')
    """
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def note(sentence: str) -> None:
    """What should be known, in one line."""
    say(f"{_SUBJECT.get()}note: {sentence}", style="yellow")


@contextmanager
def speaking_of(name: str) -> Iterator[None]:
    """Put a name before every note, where many things are done."""
    token = _SUBJECT.set(f"{name}: ")
    try:
        yield
    finally:
        _SUBJECT.reset(token)


def say(sentence: str, style: str | None = None) -> None:
    """One line, however long, and whatever words are in it."""
    CONSOLE.print(one_line(sentence), style=style, soft_wrap=True)


def _bar(*columns: ProgressColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=CONSOLE,
        transient=True,
        disable=not CONSOLE.is_terminal,
    )


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for ``progress(done, total)``."""
    with _bar(MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def fetching() -> Iterator[Callable[[str], Callable[[int, int | None], None]]]:
    """A bar of bytes for each thing that is fetched or unpacked, from what is said of it."""
    with _bar(DownloadColumn(), TransferSpeedColumn()) as bar:

        def watch(what: str) -> Callable[[int, int | None], None]:
            task = bar.add_task(what, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield watch


@contextmanager
def training(title: str) -> Iterator["Watch"]:
    """A bar with loss, accuracy and time left."""
    columns = MofNCompleteColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn()
    with _bar(*columns) as bar:
        task = bar.add_task(title, total=None, told="")

        def watch(step: int, steps: int, loss: float, accuracy: float) -> None:
            told = f"loss {loss:.3f}  accuracy {accuracy:.1%}"
            bar.update(task, completed=step, total=steps, told=told)

        yield watch


@contextmanager
def step(console: Console, title: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    begun = time.monotonic()
    console.print(title, style="bold")
    yield
    console.print(f"  {time.monotonic() - begun:.0f} s\n", style="dim")
