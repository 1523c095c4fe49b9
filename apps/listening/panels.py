"""The live screen as one picture, for a terminal of any size.

Drawn line by line from styled strings: nested tables would cost more than the listening itself.
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from kws.detector import Detection
from kws.engine import Engine
from kws.names import NO_KEYWORDS

from .live import LiveEngine

QUIET: Final = -60.0  # dBFS, the left end of the level bar
LOUD: Final = (-12.0, -3.0)  # dBFS, where the bar turns yellow and red
CELL: Final = 2  # decisions in one cell of a trace, which shows the highest
CELLS: Final = 240  # kept of each trace
STEPS: Final = " ▁▂▃▄▅▆▇█"
NARROW: Final = 76  # columns, below which the two panels lie one above the other
ROOMY: Final = 40  # columns of a keyword, of which its threshold may take some
SMALLEST: Final = 3  # lines of a panel, frame and all
SHORTEST: Final = 8  # rows of a panel, where there is room
LANGUAGES: Final = 3  # lines for their names
BELOW: Final = 2  # lines: figures, a note
KEYS: Final = "Tab next, + - threshold, m mute, q quit"

Line = list[Segment]


class Traces:
    """The scores of the last seconds, for every class of the active language.

    Attributes:
        cells: ``[K, CELLS]``, the newest last.

    """

    def __init__(self) -> None:
        self.cells: NDArray[np.float32] = np.zeros((0, CELLS), np.float32)
        self._heard: tuple[str, tuple[str, ...]] | None = None  # language and labels
        self._cell = 0

    def update(self, engine: Engine) -> None:
        """Take the latest scores; those of another language are forgotten."""
        cell = engine.decisions // CELL
        if self._heard != (engine.language, engine.labels) or cell < self._cell:
            self._heard = engine.language, engine.labels
            self.cells = np.zeros((len(engine.labels), CELLS), np.float32)
        elif moved := min(cell - self._cell, CELLS):
            self.cells = np.pad(self.cells[:, moved:], ((0, 0), (0, moved)))
        self._cell = cell
        self.cells[:, -1] = np.maximum(self.cells[:, -1], engine.scores)


@dataclass(frozen=True)
class State:
    """What the screen shows."""

    engine: LiveEngine
    traces: Traces
    name: str  # of the device or file
    dropped: int = 0  # blocks
    overruns: int = 0
    found: Sequence[Detection] = ()
    cpu: float | None = None  # share of one core
    note: str = ""
    keys: bool = True  # can be typed


class Picture:
    """All that fits: the panels take what the lines around them leave."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw no more lines than the terminal has, and none longer than it is wide."""
        lines = picture(self._state, options.max_width, options.height or options.size.height)
        for line in lines:
            yield from line
            yield Segment.line()


def picture(state: State, width: int, height: int) -> list[Line]:
    """At most ``height`` lines of ``width`` columns."""
    engine = state.engine
    above = [_title(state, width), level_line(engine.level, width, engine.muted)]
    above += _languages(engine, width, keys=state.keys)
    keys = [[piece(KEYS, "dim")]] if state.keys else []
    wanted = max(len(engine.labels), SHORTEST) + 2
    room = min(height - len(above) - BELOW - len(keys), wanted)
    middle = _panels(state, width, room) if room >= SMALLEST else []
    note = [piece(state.note, "yellow")]
    if not (middle or state.note):  # nowhere else is room for what was heard last
        note = next(iter(_detections(state.found, width, 1)), note)
    below = [_figures(state), note, *keys]
    return [fitted(line, width) for line in [*above, *middle, *below][:height]]


def piece(text: str, style: str = "") -> Segment:
    """A part of a line; characters that would steer the terminal become visible."""
    clean = apart("".join("\ufffd" if unicodedata.category(c) == "Cc" else c for c in text))
    return Segment(clean, Style.parse(style) if style else None)


def apart(text: str) -> str:
    """Text that, written from right to left, takes nothing behind it along.

    >>> apart("نعم") + " 0.93" == "نعم\N{LEFT-TO-RIGHT MARK} 0.93", apart("yes")
    (True, 'yes')
    """
    leftward = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)
    return f"{text}\N{LEFT-TO-RIGHT MARK}" if leftward else text


def fitted(line: Line, width: int) -> Line:
    """Crop or pad to a number of columns."""
    return Segment.adjust_line_length(line, max(0, width))


def keyed(engine: Engine) -> list[tuple[str, str]]:
    """Every language with the key that selects it, if it is among the first nine."""
    return [
        (str(number) if number < 10 else "", language)
        for number, language in enumerate(engine.languages, start=1)
    ]


def thresholds(engine: LiveEngine) -> str:
    """The thresholds of the active language, in few letters."""
    finite = engine.thresholds[np.isfinite(engine.thresholds)]
    if not len(finite):
        return "none"
    low, high = finite.min(), finite.max()
    text = _digits(low) if low == high else f"{_digits(low)} to {_digits(high)}"
    return f"{text}, turned {'up' if engine.raised > 0 else 'down'}" if engine.raised else text


def _digits(threshold: float) -> str:
    """A threshold with as many digits as tell it from one.

    >>> _digits(0.5), _digits(0.9963), _digits(0.99991)
    ('0.50', '0.996', '0.9999')
    """
    digits = 2 if threshold < 0.995 else 3 if threshold < 0.9995 else 4
    return f"{threshold:.{digits}f}"


def spark(values: NDArray[np.float32]) -> str:
    """One character for each value from 0 to 1.

    >>> spark(np.array([0.0, 0.5, 1.0], np.float32))
    ' ▄█'
    """
    steps = np.rint(np.clip(values, 0, 1) * (len(STEPS) - 1)).astype(int)
    return "".join(STEPS[step] for step in steps)


def level_line(level: float, width: int, muted: bool = False) -> Line:
    """How loud it is, as a bar and in dBFS."""
    yellow, red = LOUD
    colour = "green" if level < yellow else "yellow" if level < red else "red"
    room = max(0, width - 16)
    filled = round(room * min(max(1 - level / QUIET, 0), 1))
    said = piece("     MUTED", "bold red") if muted else piece(f"{level:5.0f} dBFS")
    bar = [piece("━" * filled, colour), piece("─" * (room - filled), "dim")]
    return [piece("level "), *bar, said]


def _sides(left: Line, right: Line, width: int) -> Line:
    """One part at the left edge, one at the right; the left gives way."""
    return [*fitted(left, width - Segment.get_line_length(right)), *right]


def _title(state: State, width: int) -> Line:
    heard = piece(f" {state.engine.seconds:.1f} s heard")
    return _sides([piece("kws listen ", "bold"), piece(state.name)], [heard], width)


def _languages(engine: Engine, width: int, *, keys: bool) -> list[Line]:
    """As many lines as are needed, but no more than a few, the active language among them."""
    lines: list[Line] = [[]]
    shown = 0  # the line with the active language
    for key, language in keyed(engine):
        active = language == engine.language
        told = f"{key} {language}" if keys else language
        name = piece(f" {told} ", "bold reverse" if active else "")
        if lines[-1] and Segment.get_line_length(lines[-1]) + cell_len(name.text) > width:
            lines.append([])
        lines[-1] += [name, piece(" ")]
        shown = len(lines) - 1 if active else shown
    first = max(0, shown - LANGUAGES + 1)
    return lines[first : first + LANGUAGES]


def _panels(state: State, width: int, height: int) -> list[Line]:
    """Keywords and detections, side by side where it is wide enough."""
    name = f"keywords of {state.engine.language}"
    if width >= NARROW:
        left = width * 3 // 5
        first = _panel(name, _keywords(state, left - 4, height - 2), left, height)
        rows = _detections(state.found, width - left - 4, height - 2)
        second = _panel("heard", rows, width - left, height)
        return [one + other for one, other in zip(first, second, strict=True)]
    lower = max(height // 3, SMALLEST)
    upper = height - lower
    if upper < SMALLEST:  # what was heard matters most
        upper, lower = 0, height
    first = _panel(name, _keywords(state, width - 4, upper - 2), width, upper) if upper else []
    return [*first, *_panel("heard", _detections(state.found, width - 4, lower - 2), width, lower)]


def _panel(title: str, rows: Sequence[Line], width: int, height: int) -> list[Line]:
    """A frame with so many lines in all."""
    inner = max(0, width - 4)
    head = fitted([piece(f"╭─ {title} "), piece("─" * width)], width - 1)
    body = [*rows, *([[]] * height)][: height - 2]
    return [
        [*head, piece("╮")],
        *([piece("│ "), *fitted(row, inner), piece(" │")] for row in body),
        [piece("╰" + "─" * (width - 2) + "╯")],
    ]


def _keywords(state: State, width: int, rows: int) -> list[Line]:
    """The classes that were likeliest of late, in the order of the language's labels."""
    peaks = np.round(state.traces.cells.max(axis=1, initial=0), 1)
    chosen = np.sort(np.argsort(-peaks, kind="stable")[: max(1, rows)])
    return [_keyword(state, int(index), width) for index in chosen]


def _keyword(state: State, index: int, width: int) -> Line:
    engine, cells = state.engine, state.traces.cells[index]
    label, score = engine.labels[index], float(engine.scores[index])
    threshold = float(engine.thresholds[index])
    heard = score >= threshold
    style = "dim" if label in NO_KEYWORDS else "bold" if heard else ""
    name = fitted([piece(label, style)], min(width // 3, 20))
    wanted = f" ≥{_digits(threshold)}" if math.isfinite(threshold) else ""
    said = [piece(f" {score:.2f}"), piece(f"{wanted:<8}" if width >= ROOMY else "", "dim")]
    room = max(0, width - Segment.get_line_length([*name, *said]) - 1)
    trace = _trace(cells[max(0, len(cells) - room) :], threshold)
    return [*name, piece(" "), *trace, *said]


def _trace(values: NDArray[np.float32], threshold: float) -> Iterator[Segment]:
    """Scores that reach the threshold are green."""
    reached = np.flatnonzero(np.diff(values >= threshold)) + 1
    for part in np.split(values, reached):
        if len(part):
            yield piece(spark(part), "green" if part[0] >= threshold else "cyan")


def _detections(found: Sequence[Detection], width: int, rows: int) -> list[Line]:
    """When, what, in which language, how surely; first the language gives way, then the time."""
    shown = list(found)[-max(1, rows) :]
    room = width - len(" 0.00")
    languages = max((cell_len(event.language) + 2 for event in shown), default=0)
    times = len("    0.00 s ")
    column = room - times - languages  # for words, where all is said of them
    widest = max((w for event in shown if (w := cell_len(event.keyword)) <= column), default=0)
    lines = []
    for event in shown:
        word, size = piece(event.keyword, "bold"), cell_len(event.keyword)
        line = [piece(f"{event.time:8.2f} s ")] if times + size <= room else []
        if size > room:
            word = piece(f"{set_cell_size(event.keyword, max(0, room - 1))}…", "bold")
        line.append(word)
        if size <= column:
            line += [piece(" " * (widest - size)), piece(f"  {event.language}", "dim")]
        lines.append(_sides(line, [piece(f" {event.score:.2f}")], width))
    return lines


def losses(dropped: int, overruns: int, non_finite: int) -> str:
    """What of the sound was not heard: blocks, of the device, and samples.

    >>> losses(2, 0, 0), losses(1, 1, 3)
    ('2 blocks dropped, 0 overruns', '1 block dropped, 1 overrun, 3 samples NaN or infinite')
    """
    blocks, times = ("" if count == 1 else "s" for count in (dropped, overruns))
    lost = f"{dropped} block{blocks} dropped, {overruns} overrun{times}"
    odd = "sample" if non_finite == 1 else "samples"
    return lost + (f", {non_finite} {odd} NaN or infinite" if non_finite else "")


def _figures(state: State) -> Line:
    cpu = "?" if state.cpu is None else f"{100 * state.cpu:.1f} %"
    bad = state.dropped or state.overruns or state.engine.non_finite
    lost = losses(state.dropped, state.overruns, state.engine.non_finite)
    known = piece(f"CPU {cpu}, threshold {thresholds(state.engine)}")
    return [piece(f"{lost}, ", "bold red"), known] if bad else [known, piece(f", {lost}", "dim")]
