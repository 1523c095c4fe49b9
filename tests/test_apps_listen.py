"""Listening and detecting: the loop, what is shown, and the two commands."""

import errno
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from helpers import WholeViews
from numpy.typing import NDArray

import apps.listen
from apps.detect import detect
from apps.listen import Recording, listen, obey, run
from apps.listening.live import LiveEngine
from apps.listening.screen import Lines
from apps.signals import terminable
from kws.config import SAMPLE_RATE
from kws.detector import Detection, DetectorConfig
from kws.errors import KwsError, UsageError

Wave = NDArray[np.float32]

LABELS = {
    "ara": ("خلف", "أمام", "_silence_"),
    "cmn": ("北京", "语音", "_silence_"),
    "eng": ("[red]go", *(f"word {n}" for n in range(20)), "_silence_"),
}


class Loudness(WholeViews):
    """A spotter that hears the first keyword where the middle of its view is loud."""

    def __init__(self, languages: Sequence[str] = ("ara", "cmn", "eng")) -> None:
        self.languages = tuple(languages)
        self.active_adapter = self.languages[0]

    @property
    def labels(self) -> tuple[str, ...]:
        return LABELS.get(self.active_adapter, ("a", "b"))

    def set_adapter(self, language: str) -> None:
        if language not in self.languages:
            raise KwsError(f"{language} is not among {', '.join(self.languages)}")
        self.active_adapter = language

    def scores(self, view: Wave) -> Wave:
        out = np.zeros(len(self.labels), np.float32)
        out[0 if np.abs(view[6_000:10_000]).mean() > 0.1 else -1] = 0.9
        return out

    def detector_config(self, language: str) -> DetectorConfig:
        return DetectorConfig(smoothing=1, patience=1)


class Typist:
    """Types one string before each block."""

    closed = False

    def __init__(self, *typed: str) -> None:
        self._typed = list(typed)

    def poll(self) -> str:
        return self._typed.pop(0) if self._typed else ""


class Notes:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str | tuple[str, str]] = []
        self.over = False

    def ready(self) -> None:
        self.events.append("ready")

    def switched(self) -> None:
        self.events.append("switched")

    def note(self, sentence: str) -> None:
        self.events.append(sentence)

    def update(self, found: Sequence[Detection]) -> None:
        self.events += [(event.language, event.keyword) for event in found]

    def ended(self) -> None:
        self.over = True


class Source:
    name = "Built-in Audio"
    dropped = overruns = 0
    trouble = ""


def silence(seconds: float) -> Wave:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def word(seconds: float = 0.5) -> Wave:
    return np.full(round(seconds * SAMPLE_RATE), 0.5, np.float32)


def cut(*parts: Wave) -> Iterator[Wave]:
    """Blocks of a tenth of a second."""
    wave = np.concatenate(parts)
    return (wave[start : start + 1_600] for start in range(0, len(wave), 1_600))


@pytest.fixture
def engine() -> LiveEngine:
    return LiveEngine(Loudness())


# --- the loop -----------------------------------------------------------------------------------


def test_a_key_changes_the_language_between_two_words(engine: LiveEngine) -> None:
    notes, typist = Notes(), Typist(*[""] * 20, "2")
    run(engine, cut(word(), silence(1.5), word(), silence(1)), typist, notes)
    assert notes.events == ["ready", ("ara", "خلف"), "switched", ("cmn", "北京")]
    assert engine.seconds == 3.5


def test_a_word_at_the_very_end_is_heard(engine: LiveEngine) -> None:
    notes = Notes()
    run(engine, cut(silence(1), word(0.3)), Typist(), notes)
    assert notes.events == ["ready", ("ara", "خلف")]


def test_ready_waits_for_the_first_audio(engine: LiveEngine) -> None:
    class Early(Notes):
        def ready(self) -> None:
            self.events.append(f"ready after {polls}")

    polls = 0

    def blocks() -> Iterator[Wave]:
        nonlocal polls
        for size in (0, 0, 640, 640):
            polls += 1
            yield np.zeros(size, np.float32)

    notes = Early()
    run(engine, blocks(), Typist(), notes)
    assert notes.events == ["ready after 3"]


def test_q_stops_while_no_audio_comes(engine: LiveEngine) -> None:
    def nothing() -> Iterator[Wave]:
        for _ in range(3):
            yield silence(0)
        pytest.fail("went on after q")

    assert not run(engine, nothing(), Typist("", "q"), Notes())


@pytest.mark.parametrize("seconds", [0.00001, 0.25, 1.0, 1.23])
def test_it_stops_after_so_much_audio(engine: LiveEngine, seconds: float) -> None:
    assert run(engine, cut(silence(3)), Typist(), Notes(), seconds)
    assert engine.seconds == pytest.approx(seconds, abs=1 / SAMPLE_RATE)


@pytest.mark.parametrize(
    ("typed", "language"),
    [
        ("2", "cmn"),
        ("\t", "cmn"),
        ("n", "cmn"),
        ("nn", "eng"),
        ("nnn", "ara"),
        ("3n", "ara"),
        ("4", "ara"),
        ("0x\n ?", "ara"),
    ],
)
def test_keys_choose_the_language(engine: LiveEngine, typed: str, language: str) -> None:
    assert obey(typed, engine, Notes())
    assert engine.language == language


def test_keys_after_q_are_not_obeyed(engine: LiveEngine) -> None:
    assert not obey("2q3", engine, Notes())
    assert engine.language == "cmn"


def test_keys_turn_the_threshold_and_say_so(engine: LiveEngine) -> None:
    notes = Notes()
    assert obey("++-", engine, notes)
    assert [note for note in notes.events if "threshold" in note] == [
        "ara: threshold 0.62, turned up",
        "ara: threshold 0.73, turned up",
        "ara: threshold 0.62, turned up",
    ]


def test_a_higher_threshold_is_not_reached(engine: LiveEngine) -> None:
    notes = Notes()
    run(engine, cut(word(), silence(2), word(), silence(1)), Typist(*[""] * 20, "+" * 9), notes)
    heard = [event for event in notes.events if isinstance(event, tuple)]
    assert heard == [("ara", "خلف")]
    assert engine.thresholds[0] == pytest.approx(0.989, abs=1e-3)


def test_nothing_is_heard_while_muted_and_time_goes_on(engine: LiveEngine) -> None:
    notes, told = Notes(), []
    engine.reactions.append(lambda samples, found: told.append(samples))
    typed = ["m", *[""] * 24, "m"]
    run(engine, cut(word(), silence(2), word(), silence(1)), Typist(*typed), notes)
    assert notes.events == [
        "muted: nothing is heard",
        "ready",
        "listening again",
        ("ara", "خلف"),
    ]
    assert engine.seconds == 4.0
    heard = np.concatenate(told)
    assert not heard[: round(2.5 * SAMPLE_RATE)].any()  # nor can it be kept
    assert heard.any()


def test_only_a_change_is_announced(engine: LiveEngine) -> None:
    notes = Notes()
    obey("1 1 2 2", engine, notes)
    assert notes.events == ["switched"]


def test_a_recording_can_be_heard_at_its_own_pace(tmp_path: Path) -> None:
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds + 0.001  # hearing takes time too

    soundfile.write(tmp_path / "a.wav", silence(2.01), SAMPLE_RATE)
    slow = Recording(tmp_path / "a.wav", real_time=True, clock=lambda: now, sleep=sleep)
    assert sum(len(block) for block in slow) == 32_160
    assert now - 100 == pytest.approx(2.011)
    fast = Recording(tmp_path / "a.wav", sleep=lambda _: pytest.fail("slept"))
    assert sum(len(block) for block in fast) == 32_160


# --- what is shown ------------------------------------------------------------------------------


def test_lines_for_people_and_for_programs(
    engine: LiveEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    event = Detection("北京", "cmn", 0.91239, 3.2)
    for as_json in (False, True):
        lines = Lines(engine, Source(), as_json=as_json)
        lines.ready()
        lines.update([event])
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "    3.20 s  cmn  北京  0.91",
        '{"keyword": "北京", "language": "cmn", "score": 0.9124, "time": 3.2}',
    ]
    keys = "1 ara, 2 cmn, 3 eng, Tab next, + - threshold, m mute, q quit"
    ready = f"listening on Built-in Audio in ara; keys: {keys}"
    assert shown.err.splitlines() == [ready, ready]


def test_a_log_that_cannot_be_written_ends_no_listening(
    engine: LiveEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    lines = Lines(engine, Source())
    lines.ready()
    lines.switched()
    lines.note("the microphone is lost")
    lines.update([Detection("ja", "deu", 0.9, 3.2)])
    assert "ja" in capsys.readouterr().out


def test_whoever_is_interrupted_is_told_what_was_lost_too(engine: LiveEngine) -> None:
    def blocks() -> Iterator[NDArray[np.float32]]:
        yield silence(0.1)
        raise KeyboardInterrupt

    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        run(engine, blocks(), Typist(), notes)
    assert notes.over


def test_lost_audio_is_told_at_once_and_then_at_most_every_ten_minutes(
    engine: LiveEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """However much was lost before, and of whatever kind."""
    now, source = 0.0, Source()
    lines = Lines(engine, source, clock=lambda: now)
    engine.feed(np.full(16_000, np.nan, np.float32))
    for minute in range(101):
        now = 60.0 * minute
        source.dropped += 60 <= minute <= 75
        lines.update([])
    source.dropped += 3
    lines.ended()
    lost, nan = "{} dropped, 0 overruns", "16000 samples NaN or infinite"
    assert capsys.readouterr().err.splitlines() == [
        f"audio was lost: {lost.format(new)}{in_all}, {nan}"
        for new, in_all in (
            ("0 blocks", ""),
            ("1 block", f"; in all {lost.format('1 block')}"),
            ("10 blocks", f"; in all {lost.format('11 blocks')}"),
            ("5 blocks", f"; in all {lost.format('16 blocks')}"),
            ("3 blocks", f"; in all {lost.format('19 blocks')}"),
        )
    ]


class Disk(io.StringIO):
    """A file on a disk that is full now and then."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_behind_standard_output_ends_no_listening(
    engine: LiveEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told once, and that there is room again."""
    monkeypatch.setattr("sys.stdout", disk := Disk())
    lines = Lines(engine, Source(), live=True)
    for full in (True, True, False, False, True):
        disk.full = full
        lines.update([Detection("ja", "deu", 0.9, 3.2)])
    assert disk.getvalue() == 2 * "    3.20 s  deu  ja  0.90\n"
    gone = "standard output is full; listening goes on without it"
    told = capsys.readouterr().err.splitlines()
    assert told == [gone, "standard output takes lines again", gone]


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """Its reading end, and its writing end as a stream that is full."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # so that what would wait for ever fails
    os.set_blocking(reading, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4_096))
    with open(writing, "w", encoding="utf-8") as stream:
        yield reading, stream
    os.close(reading)


def drained(reading: int) -> str:
    """All that is in a pipe, but for what filled it."""
    text = b""
    with suppress(BlockingIOError):
        while True:
            text += os.read(reading, 65_536)
    return text.replace(b"\0", b"").decode()


def test_who_stops_reading_standard_output_holds_up_no_listening(
    engine: LiveEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pipe: tuple[int, io.TextIOWrapper],
) -> None:
    """What was heard meanwhile is left out."""
    reading, stream = pipe
    monkeypatch.setattr("sys.stdout", stream)
    lines = Lines(engine, Source(), live=True)
    for word in ("one", "two"):
        lines.update([Detection(word, "eng", 0.9, 3.2)])
    assert drained(reading) == ""
    lines.update([Detection("three", "eng", 0.9, 3.2)])
    assert drained(reading) == "    3.20 s  eng  three  0.90\n"
    assert capsys.readouterr().err.splitlines() == [
        "standard output is not read; listening goes on without it",
        "standard output takes lines again",
    ]


def test_who_stops_reading_notes_holds_up_no_listening(
    engine: LiveEngine, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, io.TextIOWrapper]
) -> None:
    reading, stream = pipe
    monkeypatch.setattr("sys.stderr", stream)
    lines = Lines(engine, Source(), live=True)
    lines.note("the microphone is lost")
    drained(reading)
    lines.note("the microphone is back")
    assert drained(reading) == "the microphone is back\n"


# --- the commands -------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings, and a bank that needs no networks."""

    def open_bank(
        base: Path, adapters: Sequence[tuple[str, Path]], language: str | None
    ) -> Loudness:
        assert base.name == "base"
        bank = Loudness(["ara", *(name or folder.name for name, folder in adapters)])
        bank.set_adapter(language or bank.languages[-1])
        return bank

    wiring = ModuleType("apps.wiring")
    wiring.__dict__["open_runtime"] = open_bank
    monkeypatch.setitem(sys.modules, "apps.wiring", wiring)
    monkeypatch.chdir(tmp_path)
    soundfile.write("two.wav", np.r_[silence(1), word(), silence(1.5), word(0.4)], SAMPLE_RATE)
    soundfile.write("none.wav", silence(1), SAMPLE_RATE)
    Path("bad.wav").write_bytes(b"RIFF of nothing")
    return tmp_path


def call(command: str, *args: str, ok: bool = True) -> Result:
    result = CliRunner().invoke({"detect": detect, "listen": listen}[command], args)
    assert (result.exit_code == 0) == ok, result.output
    return result


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


BANK = ["--base", "base", "--adapter", "cmn", "--adapter", "eng"]


@pytest.mark.usefixtures("files")
def test_detect_prints_json_lines_with_exactly_four_keys() -> None:
    result = call("detect", "two.wav", "--base", "base", "--adapter", "cmn", "--json")
    found = records(result.stdout)
    assert [list(event) for event in found] == [["keyword", "language", "score", "time"]] * 2
    assert [event["keyword"] for event in found] == ["北京"] * 2
    assert "北京" in result.stdout
    assert all(0 < float(str(event["time"])) <= 3.4 for event in found)
    assert result.stderr == ""


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("command", [["detect", "two.wav"], ["listen", "--wav", "two.wav"]])
@pytest.mark.parametrize(
    ("options", "language"),
    [
        (["--base", "base"], "ara"),
        (BANK, "eng"),
        ([*BANK, "--language", "cmn"], "cmn"),
        ([*BANK, "--language", "ara"], "ara"),
    ],
)
def test_bases_adapters_and_the_language_reach_the_bank(
    command: list[str], options: list[str], language: str
) -> None:
    found = records(call(*command, *options, "--json").stdout)
    assert [event["language"] for event in found] == [language] * 2


@pytest.mark.usefixtures("files")
def test_detect_hears_the_other_files_when_one_is_bad() -> None:
    result = call("detect", "two.wav", "bad.wav", "none.wav", "--base", "base", ok=False)
    assert result.exit_code == 1
    heard = result.stdout.splitlines()
    assert heard[0] == "two.wav:"
    words = [line.replace("\N{LEFT-TO-RIGHT MARK}", "").split() for line in heard[1:3]]
    assert [word[2:4] for word in words] == [["ara", "خلف"]] * 2
    assert heard[3:] == ["none.wav:", "no keyword of ara found"]
    assert len(result.stderr.splitlines()) == 1
    assert "bad.wav" in result.stderr


@pytest.mark.usefixtures("files")
def test_detect_hears_the_other_files_when_one_may_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which is found out when it is its turn, not before any is heard."""
    allowed = os.access
    monkeypatch.setattr(
        "os.access", lambda path, mode: str(path) != "none.wav" and allowed(path, mode)
    )
    result = call("detect", "none.wav", "two.wav", "--base", "base")
    assert "no keyword of ara found" in result.stdout
    assert "خلف" in result.stdout


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("several", [[], ["none.wav"]])
def test_what_was_heard_before_a_file_turns_bad_is_told(
    several: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wave, _ = soundfile.read("two.wav", dtype="float32")
    wave[-100] = np.nan
    soundfile.write("late.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    monkeypatch.setattr("audio_data.decode.BLOCK", 8_000)
    result = call("detect", "late.wav", *several, "--base", "base", ok=False)
    assert "late.wav holds NaN" in result.stderr
    assert result.stdout.count("خلف") == 1  # the last word ends after what is bad
    assert result.stdout.startswith("late.wav:\n") == bool(several)


@pytest.mark.usefixtures("files")
def test_detect_names_the_file_first_where_there_are_several() -> None:
    result = call("detect", "none.wav", "two.wav", "--base", "base", "--json")
    found = records(result.stdout)
    assert [next(iter(event)) for event in found] == ["file"] * 2
    assert {event["file"] for event in found} == {"two.wav"}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("file", ["bad.wav", "missing.wav"])
def test_one_bad_file_is_one_sentence(file: str) -> None:
    result = call("detect", file, "--base", "base", "--json", ok=False)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("files")
def test_files_do_not_influence_one_another() -> None:
    alone = records(call("detect", "two.wav", "--base", "base", "--json").stdout)
    twice = records(call("detect", "two.wav", "two.wav", "--base", "base", "--json").stdout)
    assert [{**event, "file": "two.wav"} for event in alone * 2] == twice


@pytest.mark.usefixtures("files")
def test_listen_to_a_file_equals_detect() -> None:
    heard = call("listen", *BANK, "--wav", "two.wav", "--json")
    assert heard.stdout == call("detect", "two.wav", *BANK, "--json").stdout
    assert "listening on two.wav in eng" in heard.stderr


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("threshold", "count"), [("0.95", 0), ("0.85", 2)])
def test_a_threshold_can_be_given(threshold: str, count: int) -> None:
    for command in (["detect", "two.wav"], ["listen", "--wav", "two.wav"]):
        result = call(*command, "--base", "base", "--json", "--threshold", threshold)
        assert len(records(result.stdout)) == count


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("options", [["--threshold", "0"], ["--threshold", "1.5"]])
def test_an_impossible_threshold_is_wrong_use(options: list[str]) -> None:
    assert call("detect", "two.wav", "--base", "base", *options, ok=False).exit_code == 2


@pytest.mark.usefixtures("files")
def test_commands_that_may_run_for_ever_are_wrong_use() -> None:
    """No system call waits as long."""
    heard = ["--base", "base", "--wav", "two.wav", "--exec", "true", "--exec-seconds"]
    assert call("listen", *heard, "86400").exit_code == 0
    assert call("listen", *heard, "1e7", ok=False).exit_code == 2


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "options", [["--seconds", "0"], ["--seconds", "nan"], ["--wav", "two.wav", "-d", "usb"]]
)
def test_wrong_use_of_listen(options: list[str]) -> None:
    assert isinstance(call("listen", "--base", "base", *options, ok=False).exception, UsageError)


@pytest.mark.usefixtures("files")
def test_listen_stops_after_some_seconds() -> None:
    result = call("listen", "--base", "base", "--wav", "two.wav", "--json", "--seconds", "2")
    assert len(records(result.stdout)) == 1


@pytest.mark.usefixtures("files")
def test_a_language_that_is_not_loaded_is_named() -> None:
    result = call("listen", *BANK, "--wav", "two.wav", "--language", "tlh", ok=False)
    assert "tlh" in str(result.exception)
    assert "ara, cmn, eng" in str(result.exception)


class FakeMicrophone:
    """Hears a word, then what the test says."""

    name = "USB Audio"
    dropped = overruns = 0
    trouble = ""
    closed = False
    then: Iterable[Wave] = ()

    def __init__(self, device: str | None) -> None:
        assert device == "usb"

    def __enter__(self) -> "FakeMicrophone":
        return self

    def __exit__(self, *_: object) -> None:
        FakeMicrophone.closed = True

    def __iter__(self) -> Iterator[Wave]:
        yield from cut(silence(1), word(), silence(1))
        raise KeyboardInterrupt


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("options", [["--json"], []])
def test_ctrl_c_ends_listening_cleanly(monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.setattr(apps.listen, "Microphone", FakeMicrophone)
    monkeypatch.setattr(FakeMicrophone, "closed", False)
    result = call("listen", *BANK, "-d", "usb", *options)
    assert result.exit_code == 0
    assert "[red]go" in result.stdout
    assert FakeMicrophone.closed
    assert result.stderr.startswith("listening on USB Audio in eng\n")


@pytest.mark.usefixtures("files")
def test_keys_are_offered_only_where_they_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not to a service, whose input is the null device; nor does a picture show them."""
    monkeypatch.setattr(apps.listen, "Microphone", FakeMicrophone)
    reading, writing = os.pipe()
    for path, offered in ((os.devnull, False), (reading, True)):
        with open(path) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            with pytest.raises(SystemExit):
                listen([*BANK, "-d", "usb", "--picture", "screen.svg"])
        assert ("; keys: 1 ara, 2 cmn" in capsys.readouterr().err) == offered
        assert ("mute" in Path("screen.svg").read_text("utf-8")) == offered
    os.close(writing)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("place", "name", "reason"),
    [(LiveEngine, "flush", KeyboardInterrupt), (Lines, "_print", KwsError)],
)
def test_who_stops_hearing_a_file_waits_for_no_command(
    monkeypatch: pytest.MonkeyPatch, place: type, name: str, reason: type[BaseException]
) -> None:
    """Nor for the many that may follow it, nor does who stops reading what is heard.

    At a file's own end they are all run.
    """

    def interrupted(*_: object) -> None:
        raise reason

    monkeypatch.setattr(place, name, interrupted)
    monkeypatch.setattr(apps.listen, "CLOSING", 0.2)
    stopped = ["--exec", "sleep 60", "--exec-seconds", "60"]
    result = call("listen", *BANK, "--wav", "two.wav", *stopped, ok=reason is KeyboardInterrupt)
    assert "--exec: not all commands were run to their end" in result.stderr


@pytest.mark.usefixtures("files")
def test_where_nobody_stops_it_commands_have_their_own_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apps.listen, "Microphone", FakeMicrophone)
    monkeypatch.setattr(apps.listen, "CLOSING", 0.0)
    heard = ["-d", "usb", "--seconds", "2", "--exec", "touch done", "--exec-seconds", "60"]
    assert "not all commands" not in call("listen", *BANK, *heard).stderr
    assert Path("done").exists()


@pytest.mark.usefixtures("files")
def test_hits_are_kept_and_answered(tmp_path: Path) -> None:
    """All of them, however fast a file is heard."""
    code = "import sys, os; open('log', 'a').write(os.environ['KWS_KEYWORD'] + sys.stdin.read())"
    run_it = shlex.join([sys.executable, "-c", code])
    options = ["--save-dir", "kept", "--exec", run_it, "--exec-seconds", "60"]
    result = call("listen", *BANK, "--wav", "two.wav", "--json", *options)
    events = records(result.stdout)
    kept = sorted(tmp_path.glob("kept/*.json"))
    assert [json.loads(path.read_text(encoding="utf-8"))["keyword"] for path in kept] == [
        event["keyword"] for event in events
    ]
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{event['keyword']}{json.dumps(event)}" for event in events]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program x", "there is no program 'no-such-program'"),
        ("", "--exec needs a command"),  # of a variable that is not set
    ],
)
def test_a_command_that_does_not_exist_is_wrong_use(command: str, message: str) -> None:
    result = call("listen", "--base", "no base", "--exec", command, ok=False)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_the_help_says_that_no_sound_leaves_the_machine() -> None:
    text = " ".join(CliRunner().invoke(listen, ["--help"]).output.split())
    assert "No sound leaves this machine" in text
    assert "[default: 500" in text


def test_a_request_to_terminate_gives_the_terminal_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_request_to_terminate_breaks_off_no_end() -> None:
    """As ``timeout`` and systemd send it."""
    ended = []
    with terminable():
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:
                ended.append(number)
    assert ended == [signal.SIGTERM]


def test_a_request_to_terminate_is_heard_again_where_the_first_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in code whose exceptions Python drops."""
    times = iter([0.0, 0.0, 9.0, 11.0, 11.0])
    monkeypatch.setattr("apps.signals.time.monotonic", lambda: next(times))
    ended = []
    with terminable():
        for second in (0, 9, 11):
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                ended.append(second)
    assert ended == [0, 11]


def test_listening_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, torchaudio=None, librosa=None)\n"
        "import apps.detect, apps.listen, audio_data.decode\n"
        "assert 'sounddevice' not in sys.modules"
    )
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.usefixtures("files")
def test_without_standard_output_it_listens_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some programs that start others leave it closed."""
    monkeypatch.setattr(sys, "stdout", None)
    heard = ["--base", "base", "--wav", "two.wav", "--json", "--save-dir", str(tmp_path / "kept")]
    listen.main(heard, standalone_mode=False)
    assert len(list((tmp_path / "kept").glob("*-hit-*.wav"))) == 2


@pytest.mark.usefixtures("files")
def test_listening_may_leave_a_picture(tmp_path: Path) -> None:
    """Beside lines where there is no terminal; JSON has no screen."""
    picture = tmp_path / "screen.svg"
    heard = ["--base", "base", "--wav", "two.wav", "--picture", str(picture)]
    pictured = call("listen", *heard, "--exec", "false")
    assert pictured.stdout == call("listen", *heard[:-2]).stdout != ""
    assert "--exec: false failed with exit code 1" in pictured.stderr
    assert "two.wav" in picture.read_text(encoding="utf-8")
    (tmp_path / "manifest.csv").write_text("mine")
    mistaken = call("listen", *heard[:-1], str(tmp_path / "manifest.csv"), ok=False)
    assert "name a file that ends in .svg" in str(mistaken.exception)
    assert (tmp_path / "manifest.csv").read_text() == "mine"
    refused = call("listen", *heard, "--json", ok=False)
    assert isinstance(refused.exception, UsageError)
    (tmp_path / "file").touch()
    early = call("listen", *heard[:-1], str(tmp_path / "file" / "a.svg"), ok=False)
    assert isinstance(early.exception, KwsError)


def test_a_picture_may_be_left_in_the_users_folder(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(files / "me"))
    (files / "me").mkdir()
    call("listen", *BANK, "--wav", "two.wav", "--picture=~/screen.svg")
    assert (files / "me" / "screen.svg").is_file()
    assert not (files / "~").exists()


def test_a_file_is_heard_without_reading_a_scripts_input(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In which the names of further files may stand; a q among them would end it."""
    (files / "list").write_text("q.wav\n")
    with (files / "list").open() as names:
        monkeypatch.setattr(sys, "stdin", names)
        with pytest.raises(SystemExit) as ended:
            listen(["--wav", "two.wav", *BANK, "--json"])
        assert ended.value.code == 0
        assert names.read() == "q.wav\n"


def test_what_is_ignored_where_the_program_starts_stays_ignored() -> None:
    """As a terminal that closes is under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("files")
def test_no_more_clips_are_kept_than_asked_for(tmp_path: Path) -> None:
    call("listen", *BANK, "--wav", "two.wav", "--save-dir", "kept", "--save-limit", "1")
    assert [path.name[:6] for path in tmp_path.glob("kept/*.wav")] == ["000002"]


@pytest.mark.usefixtures("files")
def test_a_command_is_ended_after_the_seconds_asked_for() -> None:
    options = ["--exec", "sleep 60", "--exec-seconds", "0.1"]
    told = call("listen", *BANK, "--wav", "two.wav", *options).stderr
    assert told.count("took more than 0.1 s and was ended") == 2


@pytest.mark.usefixtures("files")
def test_of_a_file_nothing_is_skipped_however_much_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(apps.listen, "CAPACITY", 0)
    answered = ["--save-dir", "kept", "--exec", "touch done", "--exec-seconds", "60"]
    result = call("listen", *BANK, "--wav", "two.wav", *answered)
    assert "skipped" not in result.stderr
    assert len([*tmp_path.glob("kept/*.wav")]) == 2
    assert Path("done").exists()


@pytest.mark.usefixtures("files")
def test_who_types_q_waits_for_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = nullcontext(Typist(*[""] * 30, "q"))
    monkeypatch.setattr(apps.listen, "Keys", lambda _: keys)
    monkeypatch.setattr(apps.listen, "CLOSING", 0.2)
    stopped = ["--exec", "sleep 60", "--exec-seconds", "60"]
    result = call("listen", *BANK, "--wav", "two.wav", *stopped)
    assert "--exec: not all commands were run to their end" in result.stderr
