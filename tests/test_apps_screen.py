"""The live screen: what it shows, and that it fits every terminal."""

import io
import os
import pty
import signal
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers import WholeViews
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment

from apps.listening.live import LiveEngine, shifted
from apps.listening.panels import (
    CELL,
    CELLS,
    Picture,
    State,
    Traces,
    _detections,
    picture,
    piece,
    thresholds,
)
from apps.listening.screen import NO_WRAP, NOTE_SECONDS, WRAP, Meter, Screen, line, no_terminal
from apps.terminal import can_draw
from kws.config import SAMPLE_RATE
from kws.detector import Detection, DetectorConfig, Levels

Wave = NDArray[np.float32]

ARABIC = ("خلف", "أمام", "توقف")
ENTERED = "\x1b[?1049h"  # another screen
MANDARIN = ("北京", "语音识别系统打开空调关闭向左转", "中国")


class Loud(WholeViews):
    """A spotter that hears the first keyword where the middle of its view is loud."""

    def __init__(
        self,
        labels: Sequence[str] = ARABIC,
        languages: Sequence[str] = ("ara", "cmn", "eng"),
        config: DetectorConfig | None = None,
    ) -> None:
        self.labels = (*labels, "_unknown_", "_silence_")
        self.languages = tuple(languages)
        self.active_adapter = self.languages[0]
        self.config = config or DetectorConfig(smoothing=1, patience=1)

    def set_adapter(self, language: str) -> None:
        self.active_adapter = language

    def scores(self, view: Wave) -> Wave:
        out = np.zeros(len(self.labels), np.float32)
        out[0 if np.abs(view[6_000:10_000]).mean() > 0.1 else -1] = 0.9
        return out

    def detector_config(self, language: str) -> DetectorConfig:
        return self.config


class Source:
    name = "Built-in Audio"
    dropped = overruns = 0
    trouble = ""


def heard(engine: LiveEngine, seconds: float = 0.9) -> Traces:
    """The traces after so much loud sound."""
    traces = Traces()
    traces.update(engine)
    for _ in range(round(seconds * SAMPLE_RATE) // engine.hop):
        engine.feed(np.full(engine.hop, 0.5, np.float32))
        traces.update(engine)
    return traces


def state(engine: LiveEngine, **changes: object) -> State:
    plain = State(engine, heard(engine), "Built-in Audio", cpu=0.031, note="all is well")
    return replace(plain, **changes)  # type: ignore[arg-type]


def drawn(shown: State, width: int = 80, height: int = 24, **settings: object) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, **settings)  # type: ignore[arg-type]
    console.print(Picture(shown), end="")
    return file.getvalue().splitlines()


FOUND = (Detection("خلف", "ara", 0.93, 12.4), Detection("很" * 60, "x" * 8, 1, 4e4)) * 4


@pytest.mark.parametrize("words", [ARABIC, MANDARIN])
@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_all_that_matters_is_on_the_screen(
    words: Sequence[str], count: int, width: int, height: int
) -> None:
    labels = [f"{word}{n or ''}" for n in range(20) for word in words][:count]
    engine = LiveEngine(Loud(labels))
    lines = drawn(state(engine, found=FOUND), width, height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) == width
    text = "\n".join(lines)
    for part in (words[0], "1 ara", "2 cmn", "3 eng", "-6 dBFS", "0.9 s", "0.90", "▇"):
        assert part in text
    assert "0.90 ≥0.50" in text  # a score, and what it must reach
    for part in ("CPU 3.1 %", "0 blocks dropped, 0 overruns", "threshold 0.50", "all is well"):
        assert part in text
    for key in ("Tab next", "+ - threshold", "m mute", "q quit"):
        assert key in text
    assert text.count("12.40 s خلف") == 4


def test_keys_that_nobody_can_type_are_not_shown() -> None:
    """Their line is free for keywords."""
    shown = state(LiveEngine(Loud([f"word {n:02}" for n in range(40)])))
    typed, silent = (drawn(replace(shown, keys=keys)) for keys in (True, False))
    assert len(typed) == len(silent)
    assert [sum(line.startswith("│ word") for line in one) for one in (typed, silent)] == [15, 16]
    text = "\n".join(silent)
    assert all(part in text for part in (" ara ", " cmn ", "CPU 3.1 %", "all is well"))
    assert not any(part in text for part in ("1 ara", "2 cmn", "Tab", "q quit"))


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 13, 21, 34, 59, 60, 61])
@pytest.mark.parametrize("height", [1, 2, 3, 7, 9, 12, 50])
def test_no_terminal_is_too_small(width: int, height: int) -> None:
    engine = LiveEngine(Loud(MANDARIN * 9, [f"l{n:02}" for n in range(30)]))
    lines = picture(state(engine, found=FOUND), width, height)
    assert len(lines) <= height
    assert {sum(cell_len(part.text) for part in line) for line in lines} == {width}
    assert len(drawn(state(engine, found=FOUND), width, height)) <= height


def test_the_active_language_is_marked_and_visible_among_many() -> None:
    engine = LiveEngine(Loud(ARABIC, [f"l{n:02}" for n in range(90)]))
    assert "9 l08" in "\n".join(drawn(state(engine)))
    assert "10 l09" not in "\n".join(drawn(state(engine)))
    engine.set_language("l89")
    lines = drawn(state(engine), force_terminal=True, color_system="standard")
    marked = [line for line in lines if "\x1b[1;7m" in line]
    assert [line.split("\x1b[1;7m")[1].split("\x1b")[0].strip() for line in marked] == ["l89"]


def test_losses_and_the_closed_ear_are_shown() -> None:
    engine = LiveEngine(Loud())
    engine.muted = True
    text = "\n".join(drawn(state(engine, dropped=3, overruns=2, cpu=None)))
    assert "3 blocks dropped, 2 overruns" in text
    narrow = "\n".join(drawn(state(engine, dropped=124, overruns=7), width=40, height=15))
    assert "124 blocks dropped, 7 overruns" in narrow  # whatever else has no room
    assert "MUTED" in text
    assert "dBFS" not in text


def test_names_cannot_steer_the_terminal() -> None:
    engine = LiveEngine(Loud(["\x1b[2Jgo\n", "\x07"]))
    found = [Detection("\x1b]0;title\x07", "\x9b2J", 1.0, 1.0)]
    text = "\n".join(drawn(state(engine, found=found, name="mic\x1b[2J", note="a\nb")))
    assert not {"\x1b", "\x07", "\x9b"} & set(text)
    assert len(text.splitlines()) == 16


def test_traces_move_with_the_decisions_and_forget_another_language() -> None:
    engine, traces = LiveEngine(Loud()), Traces()
    loud, quiet = np.full(engine.hop, 0.5, np.float32), np.zeros(engine.hop, np.float32)
    for block in [loud] * 10 + [quiet] * 20:
        engine.feed(block)
        traces.update(engine)
        traces.update(engine)  # a screen may look more often than decisions fall
    word = np.flatnonzero(traces.cells[0])
    assert 4 <= len(word) <= 6
    assert (np.diff(word) == 1).all()
    assert traces.cells.shape[1] - 1 - word[-1] == 30 // CELL - 8
    engine.set_language("cmn")
    traces.update(engine)
    assert not traces.cells.any()


def test_a_wider_terminal_shows_more_of_a_trace_until_all_is_shown() -> None:
    shown = state(LiveEngine(Loud()))
    shown.traces.cells[0] = 1
    lines = [drawn(shown, width) for width in (80, 400, 480, 900)]
    rows = [next(line for line in some if line.startswith("│ خلف")) for some in lines]
    lengths = [row.count("█") for row in rows]
    assert lengths[0] < lengths[1] < lengths[2] == lengths[3] == CELLS


def test_the_likeliest_words_are_shown_in_the_order_of_the_labels() -> None:
    labels = [f"word {n:02}" for n in range(60)]
    shown = state(LiveEngine(Loud(labels)))
    shown.traces.cells[[50, 7], -1] = 0.8
    rows = [line for line in drawn(shown) if "word" in line]
    assert len(rows) < 20
    names = [row[2:9] for row in rows]
    assert names == sorted(names)
    assert {"word 00", "word 07", "word 50"} <= set(names)


def test_the_screen_is_drawn_at_most_ten_times_a_second_and_its_last_picture_stays() -> None:
    engine, now, file = LiveEngine(Loud()), 0.0, io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True)
    with Screen(engine, Source(), console, clock=lambda: now, cpu=lambda: now / 4) as screen:
        start = file.getvalue().count("dBFS")
        for _ in range(200):
            now += 0.01
            screen.update([])
        during = file.getvalue().count("dBFS") - start
        screen.update([Detection("北京", "cmn", 1, 2)])
        screen.note("the microphone is lost: USB Audio; looking for it")
    assert 15 <= during <= 20
    last = file.getvalue().rpartition("\x1b[?1049l")[2]  # after the other screen was left
    for part in ("北京", "the microphone is lost", "CPU 25.0 %"):
        assert part in last


def test_no_line_wraps_while_the_screen_is_drawn() -> None:
    """Some marks take a cell that is not counted; the terminal wraps again in the end."""
    file = io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True)
    with Screen(LiveEngine(Loud(("नहीं", "हाँ"))), Source(), console):
        assert file.getvalue().startswith(NO_WRAP)
    assert file.getvalue().endswith(WRAP)
    assert (file.getvalue().count(NO_WRAP), file.getvalue().count(WRAP)) == (1, 1)
    plain = io.StringIO()
    with Screen(LiveEngine(Loud()), Source(), Console(file=plain, width=80, height=24)):
        pass
    assert WRAP not in plain.getvalue()


def test_the_screen_can_be_kept_as_a_picture_that_needs_nothing_else(tmp_path: Path) -> None:
    """Characters of two cells have the room of two, and no font is fetched from anywhere."""
    engine = LiveEngine(Loud(MANDARIN))
    with Screen(engine, Source(), no_terminal()) as screen:
        screen.update([Detection("北京", "cmn", 0.9, 1.0)])
    assert [event.keyword for event in screen.found] == ["北京"]
    screen.save(tmp_path / "screen.svg")
    root = ElementTree.parse(tmp_path / "screen.svg").getroot()
    texts = [(text.text or "", text.attrib) for text in root.iter() if "textLength" in text.attrib]
    cell = {
        float(a["textLength"]) / cell_len(text)
        for text, a in texts
        if text.strip() and text.isascii()
    }
    wide = [float(a["textLength"]) / 4 for text, a in texts if text == "北京"]
    assert len(wide) == 2  # among the keywords, and where it was heard
    assert wide == pytest.approx([min(cell)] * 2, abs=0.2)
    assert "url(" not in (tmp_path / "screen.svg").read_text(encoding="utf-8").replace("url(#", "")


def test_the_share_of_the_processor_is_of_the_last_second() -> None:
    now = used = 0.0
    meter = Meter(lambda: now, lambda: used)
    shares = []
    for step in range(60):
        now += 0.1
        used += 0.05 if step < 30 else 0.01
        shares.append(meter.share())
    assert shares[:9] == [None] * 9
    assert shares[20] == pytest.approx(0.5)
    assert shares[-1] == pytest.approx(0.1)


# --- the dial -------------------------------------------------------------------------------------


def test_turning_keeps_the_distances_between_keywords() -> None:
    config = DetectorConfig(keywords={"أمام": Levels(0.8, 0.6)})
    engine = LiveEngine(Loud(config=config))
    assert thresholds(engine) == "0.50 to 0.80"
    engine.turn(up=True)
    engine.turn(up=True)
    up = [0.731, 0.916, 0.731, np.inf, np.inf]  # odds times e
    np.testing.assert_allclose(engine.thresholds, up, atol=1e-3)
    assert thresholds(engine) == "0.73 to 0.92, turned up"
    engine.turn(up=False)
    engine.turn(up=False)
    assert (thresholds(engine), engine.raised) == ("0.50 to 0.80", 0)


def test_turning_ends_where_there_is_no_room_and_starts_back_at_once() -> None:
    engine = LiveEngine(Loud())
    for _ in range(100):
        engine.turn(up=True)
    assert engine.thresholds[0] == 0.9999
    engine.turn(up=False)
    assert engine.thresholds[0] < 0.9999
    for _ in range(100):
        engine.turn(up=False)
    assert engine.thresholds[0] == pytest.approx(0.05)
    engine.turn(up=True)
    assert engine.thresholds[0] > 0.06


def test_turning_moves_thresholds_that_are_near_one() -> None:
    """Such as calibration finds; the level at which a word is over stays below."""
    near = DetectorConfig(threshold=0.996, release=0.3)
    engine = LiveEngine(Loud(config=near))
    for _ in range(4):
        before = engine.thresholds[0]
        engine.turn(up=True)
        assert engine.thresholds[0] > before
        assert shifted(near, engine.raised).release == pytest.approx(0.3, abs=2e-3)
    assert thresholds(engine) == "0.999, turned up"


def test_turning_up_lowers_no_threshold_that_is_higher_than_keys_turn_any() -> None:
    highest = DetectorConfig(threshold=0.99995)
    assert shifted(highest, 0.5).threshold == 0.99995
    assert shifted(highest, -0.5).threshold < 0.99995


def test_turning_makes_no_word_heard_twice() -> None:
    """An utterance that was reported stays reported, wherever the dial stands."""
    engine = LiveEngine(Loud())
    found = [*engine.feed(np.ones(2 * SAMPLE_RATE, np.float32))]
    for _ in range(2):
        engine.turn(up=False)
        found += engine.feed(np.ones(SAMPLE_RATE // 2, np.float32))
    assert len(found) == 1


def test_a_threshold_beyond_the_dial_is_left_where_it_is() -> None:
    highest = DetectorConfig(threshold=1.0, release=0.3)
    assert shifted(highest, 0.5).threshold == 1.0
    assert shifted(DetectorConfig(threshold=0.02, release=0.01), -0.5).threshold == 0.02


def test_the_thresholds_follow_the_language() -> None:
    class Two(Loud):
        def detector_config(self, language: str) -> DetectorConfig:
            return DetectorConfig(threshold={"ara": 0.5, "cmn": 0.7}.get(language, 0.6))

    engine = LiveEngine(Two())
    engine.turn(up=True)
    engine.set_language("cmn")
    assert engine.thresholds[0] == pytest.approx(0.794, abs=1e-3)


@pytest.mark.parametrize("threshold", [0.05, 0.16, 0.2, 0.3])
def test_turning_never_lifts_the_release_level_above_the_threshold(threshold: float) -> None:
    """Where both are the same, as --threshold makes them, and rounding may part them."""
    config = DetectorConfig().at(threshold)
    for turns in range(-20, 21):
        found = shifted(config, 0.5 * turns)
        assert found.release == pytest.approx(found.threshold)


def test_turning_follows_the_bank() -> None:
    """Another engine may have left it in another language, or an adapter been replaced."""
    bank = Loud(config=DetectorConfig(keywords={"أمام": Levels(0.8, 0.6)}))
    engine = LiveEngine(bank)
    bank.labels = ("go", "stop", "_silence_")
    bank.config = DetectorConfig(keywords={"go": Levels(0.9, 0.6)})
    engine.turn(up=True)
    assert engine.labels == bank.labels
    np.testing.assert_allclose(engine.thresholds, [0.937, 0.622, np.inf], atol=1e-3)


def test_nothing_is_kept_of_what_nobody_sees() -> None:
    console = no_terminal()
    console.print("x" * 1_000)  # what Rich keeps for good
    tracemalloc.start()
    for _ in range(120):
        console.print("x" * 1_000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 60_000  # of twice as many letters


def test_samples_that_are_no_numbers_are_told() -> None:
    engine = LiveEngine(Loud())
    engine.feed(np.full(7, np.nan, np.float32))
    assert "0 overruns, 7 samples NaN or infinite" in "\n".join(drawn(state(engine)))


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_no_picture_is_drawn_where_the_cursor_cannot_move(
    term: str, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But lines are written, as into a file."""
    monkeypatch.setenv("TERM", term)
    typing, terminal = pty.openpty()
    with open(terminal, "w", encoding="utf-8") as stream:
        assert can_draw(stream) == drawn
    os.close(typing)
    assert not can_draw(io.StringIO())
    assert not can_draw(None)


def test_a_word_written_from_the_right_leaves_its_score_at_the_right() -> None:
    """The score's digits are part of its run of letters, were there no mark between."""
    written = line(Detection("نعم", "ara", 0.934, 12.4))
    assert written.replace("\N{LEFT-TO-RIGHT MARK}", "") == "   12.40 s  ara  نعم  0.93"
    assert "نعم\N{LEFT-TO-RIGHT MARK}  0.93" in written
    assert Segment.get_line_length([piece("نعم")]) == 3


@pytest.mark.parametrize("width", [28, 45, 75, 80])
@pytest.mark.parametrize("height", [7, 9, 12, 15])
def test_what_was_heard_last_is_on_every_screen(width: int, height: int) -> None:
    """In a panel, or where a note would stand."""
    engine = LiveEngine(Loud(MANDARIN, ["l01", "l02"]))
    found = (Detection("北京", "cmn", 0.93, 12.4),)
    text = "\n".join(drawn(state(engine, found=found, note=""), width, height))
    assert "北京" in text
    assert "0.93" in text


def test_the_language_gives_way_before_the_time_and_both_before_the_word() -> None:
    event = Detection("eighty", "eng-commands", 0.96, 50.48)
    lines = {width: "".join(part.text for part in _detections([event], width, 1)[0]) for width in
             (40, 30, 20, 8)}  # fmt: skip
    assert lines[40] == "   50.48 s eighty  eng-commands     0.96"
    assert lines[30] == "   50.48 s eighty         0.96"
    assert lines[20] == "eighty          0.96"
    assert lines[8] == "ei… 0.96"


def test_languages_stand_in_a_column() -> None:
    words = ("ja", "nein", "ಇಲ್ಲ")
    events = [Detection(word, "de", 0.9, 1.0) for word in words]
    rows = ["".join(part.text for part in row) for row in _detections(events, 40, 3)]
    assert len({cell_len(row.partition("  de")[0]) for row in rows}) == 1


def test_a_note_passes_but_not_what_ails_the_source() -> None:
    now, source = [0.0], Source()
    screen = Screen(LiveEngine(Loud()), source, no_terminal(record=True), clock=lambda: now[0])

    def shown(what: str) -> bool:
        return any(what in part.text for line in _lines(screen) for part in line)

    screen.note("all is well")
    source.trouble = "the microphone is lost"
    screen.switched()
    assert shown("all is well")
    now[0] += NOTE_SECONDS
    assert not shown("all is well")
    assert shown("the microphone is lost")
    source.trouble = ""
    assert not shown("the microphone is lost")


def _lines(screen: Screen) -> list[list[Segment]]:
    return no_terminal().render_lines(screen._picture())


def test_marks_that_take_room_are_drawn_as_wide_as_they_are(tmp_path: Path) -> None:
    """Hindi's: squeezed into the cells that Rich counts, nobody could read them."""
    screen = Screen(LiveEngine(Loud(("तीन", "नही", "drei"))), Source(), no_terminal(record=True))
    screen.save(tmp_path / "screen.svg")
    drawn = (tmp_path / "screen.svg").read_text(encoding="utf-8")
    (hindi,) = [line for line in drawn.splitlines() if "तीन" in line]
    assert "textLength" in drawn
    assert "textLength" not in hindi[: hindi.index("तीन")].rpartition("<text")[2]


def test_in_the_background_nothing_is_drawn_until_it_is_in_front_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after Ctrl-Z and bg: the terminal is another program's."""
    out, behind = io.StringIO(), [False]
    monkeypatch.setattr("apps.listening.screen.is_in_background", lambda stream: behind[0])
    monkeypatch.setattr("apps.signals.os.kill", lambda *_: None)  # stops, and goes on at once
    console = Console(file=out, force_terminal=True, width=80, height=24)
    with Screen(LiveEngine(Loud()), Source(), console) as screen:
        behind[0] = True
        signal.raise_signal(signal.SIGTSTP)
        left = out.tell()
        screen.ready()
        screen.switched()
        assert out.tell() == left
        behind[0] = False
        screen.ready()
        assert ENTERED in out.getvalue()[left:]
        assert "Built-in Audio" in out.getvalue()[left:]
        behind[0] = True
        left = out.tell()
        signal.raise_signal(signal.SIGTSTP)  # once more
    assert out.tell() == left  # ended there, it leaves nothing on another's screen
