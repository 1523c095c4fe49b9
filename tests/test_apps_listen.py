"""Listening and detecting: the loop, what is shown, and the two commands."""

import io
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console

import apps.listen
from apps.detect import detect
from apps.listen import Recording, listen, obey, run
from apps.screen import Lines, Screen, picture
from kws.config import SAMPLE_RATE
from kws.detector import Detection, DetectorConfig
from kws.engine import Engine
from kws.errors import KwsError, UsageError

Wave = NDArray[np.float32]

LABELS = {
    "ara": ("خلف", "أمام", "_silence_"),
    "cmn": ("北京", "语音", "_silence_"),
    "eng": ("[red]go", *(f"word {n}" for n in range(20)), "_silence_"),
}


class Loudness:
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

    def __init__(self, *typed: str) -> None:
        self._typed = list(typed)

    def poll(self) -> str:
        return self._typed.pop(0) if self._typed else ""


class Notes:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str | tuple[str, str]] = []

    def ready(self) -> None:
        self.events.append("ready")

    def switched(self) -> None:
        self.events.append("switched")

    def update(self, found: Sequence[Detection]) -> None:
        self.events += [(event.language, event.keyword) for event in found]


class Source:
    name = "Built-in Audio"
    dropped = 0


def silence(seconds: float) -> Wave:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def word(seconds: float = 0.5) -> Wave:
    return np.full(round(seconds * SAMPLE_RATE), 0.5, np.float32)


def cut(*parts: Wave) -> Iterator[Wave]:
    """Blocks of a tenth of a second."""
    wave = np.concatenate(parts)
    return (wave[start : start + 1_600] for start in range(0, len(wave), 1_600))


@pytest.fixture
def engine() -> Engine:
    return Engine(Loudness())


# --- the loop -----------------------------------------------------------------------------------


def test_a_key_changes_the_language_between_two_words(engine: Engine) -> None:
    notes, typist = Notes(), Typist(*[""] * 20, "2")
    run(engine, cut(word(), silence(1.5), word(), silence(1)), typist, notes)
    assert notes.events == ["ready", ("ara", "خلف"), "switched", ("cmn", "北京")]
    assert engine.seconds == 3.5


def test_a_word_at_the_very_end_is_heard(engine: Engine) -> None:
    notes = Notes()
    run(engine, cut(silence(1), word(0.3)), Typist(), notes)
    assert notes.events == ["ready", ("ara", "خلف")]


def test_ready_waits_for_the_first_audio(engine: Engine) -> None:
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


def test_q_stops_while_no_audio_comes(engine: Engine) -> None:
    def nothing() -> Iterator[Wave]:
        for _ in range(3):
            yield silence(0)
        pytest.fail("went on after q")

    run(engine, nothing(), Typist("", "q"), Notes())


@pytest.mark.parametrize("seconds", [0.00001, 0.25, 1.0, 1.23])
def test_it_stops_after_so_much_audio(engine: Engine, seconds: float) -> None:
    run(engine, cut(silence(3)), Typist(), Notes(), seconds)
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
def test_keys_choose_the_language(engine: Engine, typed: str, language: str) -> None:
    assert obey(typed, engine, Notes())
    assert engine.language == language


def test_keys_after_q_are_not_obeyed(engine: Engine) -> None:
    assert not obey("2q3", engine, Notes())
    assert engine.language == "cmn"


def test_only_a_change_is_announced(engine: Engine) -> None:
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


def drawn(engine: Engine, found: Sequence[Detection] = (), **settings: object) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=80, height=24, **settings)  # type: ignore[arg-type]
    console.print(picture(engine, Source(), found))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("language", ["ara", "cmn", "eng"])
def test_the_screen_fits_80_by_24_in_any_script(engine: Engine, language: str) -> None:
    engine.set_language(language)
    engine.feed(word(0.9))
    keyword = engine.labels[0]
    found = [Detection(keyword, language, 0.93, 12.4), Detection("很" * 60, "x" * 8, 1, 4e4)] * 4
    lines = drawn(engine, found)
    assert len(lines) <= 24
    assert max(map(cell_len, lines)) <= 80
    text = "\n".join(lines)
    for shown in (keyword, "1 ara", "2 cmn", "3 eng", "-6 dBFS", "0.9 s", "0 blocks dropped"):
        assert shown in text
    assert text.count(f"12.40 s {language}") == 4


def test_the_screen_shows_which_language_is_active(engine: Engine) -> None:
    def reversed_part() -> str:
        lines = drawn(engine, force_terminal=True, color_system="standard")
        return (
            next(line for line in lines if "1 ara" in line).split("\x1b[1;7m")[1].split("\x1b")[0]
        )

    assert reversed_part() == " 1 ara "
    engine.set_language("eng")
    assert reversed_part() == " 3 eng "


def test_many_languages_fit_and_the_first_nine_have_keys() -> None:
    engine = Engine(Loudness([f"l{n:02}" for n in range(30)]))
    lines = drawn(engine)
    assert len(lines) <= 24
    assert "9 l08" in "\n".join(lines)
    assert "10 l09" not in "\n".join(lines)


def test_the_screen_is_drawn_at_most_ten_times_a_second(engine: Engine) -> None:
    now, file = 0.0, io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True)
    with Screen(engine, Source(), console, clock=lambda: now) as screen:
        start = file.getvalue().count("dBFS")
        for _ in range(200):
            now += 0.01
            screen.update([])
        during = file.getvalue().count("dBFS") - start
        screen.update([Detection("北京", "cmn", 1, 2)])
    assert 15 <= during <= 20
    assert "北京" in file.getvalue()


def test_lines_for_people_and_for_programs(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    event = Detection("北京", "cmn", 0.91239, 3.2)
    for as_json in (False, True):
        with Lines(engine, Source(), as_json=as_json) as lines:
            lines.ready()
            lines.update([event])
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "    3.20 s  cmn  北京  0.91",
        '{"keyword": "北京", "language": "cmn", "score": 0.9124, "time": 3.2}',
    ]
    ready = "listening on Built-in Audio in ara; keys: 1 ara, 2 cmn, 3 eng, Tab next, q quit"
    assert shown.err.splitlines() == [ready, ready]


# --- the commands -------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings, and a bank that needs no networks."""

    def open_bank(base: Path, adapters: Sequence[Path], language: str | None) -> Loudness:
        assert base.name == "base"
        bank = Loudness(["ara", *(adapter.name for adapter in adapters)])
        bank.set_adapter(language or bank.languages[-1])
        return bank

    wiring = ModuleType("apps.wiring")
    wiring.__dict__["open_bank"] = open_bank
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
    assert [line.split()[2:4] for line in heard[1:3]] == [["ara", "خلف"]] * 2
    assert heard[3:] == ["none.wav:", "no keyword found"]
    assert len(result.stderr.splitlines()) == 1
    assert "bad.wav" in result.stderr


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
    dropped = 0
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
    assert result.stderr.startswith("listening on USB Audio in eng; keys: 1 ara, 2 cmn, 3 eng")


def test_listening_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, torchaudio=None, librosa=None)\n"
        "import apps.detect, apps.listen, audio_data.decode\n"
        "assert 'sounddevice' not in sys.modules"
    )
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
