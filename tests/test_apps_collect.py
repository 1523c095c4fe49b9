"""Collecting: what is asked for, kept, rejected and undone, without a sound card."""

import errno
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console

import apps.collect
from apps.collect import Session, collect, run
from apps.listening.prompt import ASK, QUIET, PromptLines, PromptScreen, envelope, verdict
from audio_data.collection import Collection
from audio_data.corpus import read_corpus
from audio_data.takes import Take, judge
from kws.config import SAMPLE_RATE
from kws.errors import KwsError, UsageError

Wave = NDArray[np.float32]
BLOCK = 640
RNG = np.random.default_rng(0)


def room(seconds: float) -> Wave:
    return (0.001 * RNG.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)


def word(peak: float = 0.3, frequency: float = 300, seconds: float = 0.5) -> Wave:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    swell = np.sin(np.pi * time / seconds)
    return (peak * swell * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


class Person:
    """Says something a while after being asked to speak, and types when being asked to decide.

    Also the prompt, the microphone and the keyboard: all that a session needs of the world.
    """

    name = "USB Audio"
    dropped = overruns = 0
    trouble = ""
    closed = False

    def __init__(self, *says: Wave, types: Sequence[str] = "") -> None:
        self._says, self._types = list(says), list(types)
        self._typed = ""
        self._coming = room(0)
        self.told: list[str] = []

    def __iter__(self) -> Iterator[Wave]:
        for _ in range(5_000):
            block, self._coming = self._coming[:BLOCK], self._coming[BLOCK:]
            yield np.r_[block, room(0.04)][:BLOCK]
        pytest.fail("it never ends")

    def poll(self) -> str:
        typed, self._typed = self._typed, ""
        return typed

    def word(self, word: str, number: int, total: int) -> None:
        self.told.append(f"{word} {number}/{total}")

    def speak(self) -> None:
        if not self._says:
            self._typed = "q"
            return
        self._coming = np.concatenate([room(0.5), self._says.pop(0)])

    def level(self, block: Wave) -> None: ...

    def heard(self, take: Take, problem: str | None) -> None:
        self.told.append(problem.partition(":")[0] if problem else "good")

    def ask(self) -> None:
        self._typed = self._types.pop(0) if self._types else "q"

    def note(self, sentence: str) -> None:
        self.told.append(sentence.split()[0])
        if sentence == "there is nothing to undo":
            self._typed = "q"


def record(folder: Path, person: Person, repeats: int = 1, *, ask: bool = True) -> Collection:
    collection = Collection(folder, "de", "s01")
    session = Session(collection, ("ja", "nein"), repeats, person, seconds=2, ask=ask)
    run(session, person, person, person)
    return collection


def test_each_word_is_asked_for_in_turn_and_kept(tmp_path: Path) -> None:
    person = Person(*[word()] * 4, types="\n y\r")
    collection = record(tmp_path, person, repeats=2)
    assert collection.counts() == {"ja": 2, "nein": 2}
    assert [told for told in person.told if "/" in told] == [
        "ja 1/4",
        "nein 2/4",
        "ja 3/4",
        "nein 4/4",
    ]
    for clip in read_corpus(tmp_path):
        assert judge(soundfile.read(clip.path, dtype="float32")[0]).problem is None
        assert soundfile.info(clip.path).duration == pytest.approx(0.5 + 0.6, abs=0.1)


def test_a_silent_microphone_is_given_up_where_nobody_can_press_a_key(tmp_path: Path) -> None:
    """The fourth recording of ten is good, so that ten more are rejected."""
    person = Person(*[room(0)] * 3, word(), *[room(0)] * 10, word())
    person.closed = True
    with pytest.raises(KwsError, match="10 recordings in a row were rejected"):
        record(tmp_path, person, ask=False)
    assert Collection(tmp_path, "de", "s01").counts() == {"ja": 1}
    assert len(person._says) == 1


def test_a_bad_recording_is_repeated_without_being_asked_for(tmp_path: Path) -> None:
    says = [room(0), np.clip(word(3.0), -1, 1), word(), word(seconds=1.5), word()]
    person = Person(*says, types="\n\n")
    assert record(tmp_path, person).counts() == {"ja": 1, "nein": 1}
    assert [told for told in person.told if "/" not in told] == [
        "nothing was heard; speak up, or choose another microphone",
        "too loud",
        "good",
        "kept",
        "cut",
        "good",
        "kept",
    ]


def test_a_good_recording_can_be_made_again_and_the_last_undone(tmp_path: Path) -> None:
    person = Person(*[word()] * 5, types=("r", "\n", "uu", "\n", "\n"))
    assert record(tmp_path, person).counts() == {"ja": 1, "nein": 1}
    assert [told for told in person.told if told != "good"] == [
        "ja 1/2",
        "once",
        "kept",
        "nein 2/2",
        "once",  # the first u is for what waits, and deletes nothing
        "the",
        "ja 1/2",
        "kept",
        "nein 2/2",
        "kept",
    ]


def test_there_may_be_nothing_to_undo(tmp_path: Path) -> None:
    person = Person(word(), types=("uu",))
    assert not record(tmp_path, person).counts()
    assert "there" in person.told


def test_quitting_keeps_what_was_accepted_and_no_more(tmp_path: Path) -> None:
    person = Person(word(), word(), types="\nq")
    assert record(tmp_path, person).counts() == {"ja": 1}


def test_going_on_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    record(tmp_path, Person(word(), types="\n"))
    person = Person(word(), types="\n")
    assert record(tmp_path, person).counts() == {"ja": 1, "nein": 1}
    assert person.told[0] == "nein 2/2"
    assert record(tmp_path, silent := Person()).counts() == {"ja": 1, "nein": 1}
    assert silent.told == []


def test_good_clips_are_kept_without_asking(tmp_path: Path) -> None:
    person = Person(word(), room(0), word())
    assert record(tmp_path, person, ask=False).counts() == {"ja": 1, "nein": 1}


@pytest.mark.parametrize("loss", ["dropped", "overruns"])
def test_a_recording_with_a_gap_is_rejected(tmp_path: Path, loss: str) -> None:
    class Busy(Person):
        def level(self, block: Wave) -> None:
            setattr(Busy, loss, 1)  # from the first recorded block on

    person = Busy(word(), word(), types="\n")
    record(tmp_path, person)
    assert person.told[1] == (
        "some audio was lost meanwhile; the microphone was gone, or the computer is busy"
    )
    assert person.told[2] == "good"


@pytest.mark.parametrize("key", "\r\n yYaA")
def test_keys_that_keep_a_clip(tmp_path: Path, key: str) -> None:
    assert record(tmp_path, Person(word(), types=key)).counts() == {"ja": 1}


@pytest.mark.parametrize("key", "rRuU")
def test_keys_that_record_it_again(tmp_path: Path, key: str) -> None:
    person = Person(word(), word(), types=(key, "\n"))
    assert record(tmp_path, person).counts() == {"ja": 1}
    assert person.told == ["ja 1/2", "good", "once", "good", "kept", "nein 2/2"]


@pytest.mark.parametrize("key", "qQ")
def test_keys_that_end_it(tmp_path: Path, key: str) -> None:
    person = Person(word(), types=(key, "\n"))
    assert not record(tmp_path, person).counts()
    assert person._types == ["\n"]  # nobody is asked again


def test_the_click_of_the_key_is_not_recorded(tmp_path: Path) -> None:
    class Noisy(Person):
        def poll(self) -> str:
            typed = super().poll()
            if typed:
                self._coming = np.full(BLOCK * 6, 0.9, np.float32)
            return typed

    person = Noisy(word(), word(), types="\n\n")
    assert record(tmp_path, person).counts() == {"ja": 1, "nein": 1}
    assert person.told.count("good") == 2


def test_without_a_keyboard_a_decision_cannot_be_waited_for(tmp_path: Path) -> None:
    person = Person(word())
    person.closed = True
    with pytest.raises(UsageError, match="add --yes"):
        record(tmp_path, person)


# --- the picture ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 7, 30, 80, 200])
@pytest.mark.parametrize("height", [1, 4, 24])
def test_the_picture_fits_every_terminal(width: int, height: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, height=height)
    screen = PromptScreen(Person(), console)
    screen.word("很" * 30, 3, 20)
    screen.speak()
    screen.level(word())
    screen.heard(judge(np.concatenate([room(0.5), word(), room(1)])), None)
    screen.ask()
    for number in range(9):
        screen.note(f"note\n{number}\x1b[2J")
    console.print(screen, end="")
    lines = file.getvalue().splitlines()
    assert len(lines) <= height
    assert {cell_len(line) for line in lines} == {width}
    assert "\x1b" not in file.getvalue()


def test_in_the_background_it_leaves_the_terminal_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, behind = io.StringIO(), [False]
    monkeypatch.setattr("apps.listening.prompt.is_in_background", lambda stream: behind[0])
    with PromptScreen(Person(), Console(file=file, force_terminal=True, width=80)) as screen:
        behind[0] = True
        left = file.tell()
        screen.word("ja", 1, 2)
        screen.level(word())
    assert file.tell() == left


def test_the_picture_shows_the_word_its_shape_and_what_to_do() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, height=24)
    screen = PromptScreen(Person(), console)
    screen.word("你好", 3, 20)
    screen.heard(judge(np.concatenate([room(0.5), word(), room(1)])), None)
    screen.ask()
    console.print(screen)
    text = file.getvalue()
    for part in ("USB Audio", "3 of 20", "你好", "█", "0.5", "dBFS", "Enter keeps", "r records"):
        assert part in text
    screen.heard(judge(room(2)), "nothing was heard")
    console.print(screen)
    assert "again: nothing was heard" in file.getvalue()


def test_the_picture_shows_keys_only_where_they_can_be_typed() -> None:
    person = Person()
    screen = PromptScreen(person, Console(width=80, height=24), keyless=lambda: person.closed)
    for person.closed in (False, True):
        with screen._console.capture() as shown:
            screen._console.print(screen)
        assert ("q quits" in shown.get()) != person.closed


def shown(screen: PromptScreen) -> str:
    file = io.StringIO()
    Console(file=file, width=80, height=24).print(screen)
    return file.getvalue()


def test_the_picture_is_of_what_happens_now() -> None:
    """Of the word that is asked for, not of the one before."""
    screen = PromptScreen(Person(), Console(file=io.StringIO()))
    take = judge(np.concatenate([room(0.5), word(), room(1)]))
    screen.word("ja", 1, 2)
    screen.speak()
    screen.heard(take, None)
    assert " wait " in shown(screen)
    screen.ask()
    asked = shown(screen)
    assert all(part in asked for part in (" good? ", "█", verdict(take), ASK))
    screen.word("nein", 2, 2)
    again = shown(screen)
    assert all(part in again for part in (" wait ", "nein", "2 of 2", QUIET))
    screen.speak()
    speaking = shown(screen)
    assert all(part in speaking for part in (" SPEAK ", "nein", QUIET))
    assert not any(part in speaking for part in (ASK, "█", verdict(take)))


def test_the_picture_shows_how_loud_it_is_and_the_last_notes() -> None:
    screen = PromptScreen(Person(), Console(file=io.StringIO()))
    screen.level(np.full(BLOCK, 0.1, np.float32))
    for number in range(5):
        screen.note(f"note {number}")
    text = shown(screen)
    assert " -20 dBFS" in text
    assert re.findall(r"note (\d)", text) == ["2", "3", "4"]


@pytest.mark.skipif(not hasattr(signal, "SIGTSTP"), reason="nothing is stopped here by keys")
def test_who_stops_it_has_a_cursor_and_long_lines_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("apps.signals.os.kill", lambda *_: None)  # stops, and goes on at once
    file = io.StringIO()
    with PromptScreen(Person(), Console(file=file, force_terminal=True, width=80)):
        file.write("<in>")
        signal.raise_signal(signal.SIGTSTP)
        file.write("<out>")
    marks = re.findall(r"\x1b\[\?(?:7|25)[hl]|<in>|<out>", file.getvalue())
    taken, given = ["\x1b[?7l", "\x1b[?25l"], ["\x1b[?25h", "\x1b[?7h"]
    assert marks == [*taken, "<in>", *given, *taken[::-1], "<out>", *given]


def test_lines_say_what_a_picture_shows(capsys: pytest.CaptureFixture[str]) -> None:
    take = judge(np.concatenate([room(0.5), word(), room(1)]))
    with PromptLines() as lines:
        lines.word("ja", 1, 2)
        lines.speak()
        lines.level(room(0.04))
        lines.heard(take, "some audio was lost")
        lines.heard(take, None)
        lines.ask()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "say: ja (1 of 2)",
        "now",
        "rejected: some audio was lost",
        f"good: {verdict(take)}",
        ASK,
    ]


def test_the_envelope_follows_the_peaks() -> None:
    np.testing.assert_allclose(envelope(np.array([0, 0.5, -1, 0], np.float32), 2), [0.5, 1])
    assert len(envelope(np.zeros(3, np.float32), 60)) == 3
    assert not len(envelope(np.zeros(0, np.float32), 60))


# --- the command ----------------------------------------------------------------------------------


class FakeMicrophone(Person):
    """A person who says good words whenever asked to: it listens to what the command prints."""

    def __init__(self, device: str | None) -> None:
        super().__init__()

    def __enter__(self) -> "FakeMicrophone":
        return self

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[Wave]:
        for _ in range(200):
            yield room(0.6)
            yield from np.array_split(np.concatenate([room(0.7), word(), room(0.8)]), 50)


def call(*options: str, ok: bool = True) -> Result:
    result = CliRunner().invoke(collect, ["--language", "de", "--speaker", "s01", *options])
    assert (result.exit_code == 0) == ok, result.output
    return result


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apps.collect, "Microphone", FakeMicrophone)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("microphone")
def test_the_command_says_what_there_is_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["--words", "ja,nein", "--repeats", "2", "--yes"]
    result = call(*command, "--json")
    assert json.loads(result.stdout) == {
        "manifest": "recordings/manifest.csv",
        "speaker": "s01",
        "clips": {"ja": 2, "nein": 2},
    }
    assert "say: ja (1 of 4)" in result.stderr
    again = call("--words", "ja,vielleicht", "--repeats", "2", "--yes")
    assert again.stdout.splitlines() == [
        "    2 of 2  ja",
        "    2 of 2  vielleicht",
        "in recordings/manifest.csv, for kws adapt --data recordings",
    ]
    assert "say: ja" not in again.stderr
    assert len(read_corpus(Path("recordings"))) == 6
    monkeypatch.setattr(apps.collect, "Microphone", None)  # not needed to say that all is there
    assert call(*command).stdout.startswith("    2 of 2  ja")


@pytest.mark.usefixtures("microphone")
@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--words", ","], SystemExit),
        (["--words", "_silence_"], UsageError),
        (["--words", "ja", "--out", "other"], KwsError),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_recorded(
    options: list[str], error: type[Exception]
) -> None:
    Path("other").mkdir()
    Path("other/manifest.csv").write_text("nothing like it\n")
    assert isinstance(call(*options, ok=False).exception, error)


@pytest.mark.usefixtures("microphone")
def test_a_folder_that_cannot_be_written_is_told_before_anybody_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "touch", full)
    monkeypatch.setattr(apps.collect, "Microphone", None)  # not asked for
    assert "cannot write in recordings" in str(call("--words", "ja", ok=False).exception)


@pytest.mark.usefixtures("microphone")
def test_what_ails_the_microphone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where nothing was recorded, no recordings are spoken of."""

    class Lost(FakeMicrophone):
        tell: Callable[[str], object]

        def __iter__(self) -> Iterator[Wave]:
            self.tell("the microphone is lost")
            yield room(0.04)

    monkeypatch.setattr(apps.collect, "Microphone", Lost)
    result = call("--words", "ja,ja", "--yes")
    assert "the microphone is lost" in result.stderr
    assert "say: ja (1 of 10)" in result.stderr  # which is asked for once, though named twice
    assert result.stdout.splitlines() == ["    0 of 10  ja"]


def test_collecting_needs_no_torch() -> None:
    code = "import sys; sys.modules.update(torch=None, torchaudio=None, librosa=None)\n"
    code += "import apps.collect; assert 'sounddevice' not in sys.modules"
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_adapting_takes_the_clips_of_one_speaker_and_says_what_that_means(
    kws: Any, tiny: Path, tmp_path: Path
) -> None:
    collection = Collection(tmp_path / "data", "x-tone", "s01")
    for take in range(8):
        collection.add("low", np.concatenate([room(0.3), word(frequency=300 + take), room(0.3)]))
        collection.add("high", np.concatenate([room(0.3), word(frequency=2_000 + take)]))
    command = ["adapt", "--base", tiny / "base", "--data", tmp_path / "data", "--method", "head"]
    code, out, err = kws(*command, "--epochs", 1, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    assert json.loads(out)["language"] == "x-tone"
    said = re.sub(r"\s+", " ", err)
    assert "1 speaker only: splits share people, so accuracy will be optimistic" in said


def test_a_language_is_a_tag(tmp_path: Path) -> None:
    """As it is for whatever reads the recordings later."""
    options = ["--language", "no such!!", "--words", "ja", "--out", str(tmp_path / "out")]
    assert "is no language; write it as de" in call(*options, ok=False).output
    assert not (tmp_path / "out").exists()


def test_nobody_is_asked_to_speak_into_a_microphone_that_is_gone(tmp_path: Path) -> None:
    """Where sound is lost before the recording, the time before it begins anew."""
    person = Person()
    collection = Collection(tmp_path, "de", "s01")
    session = Session(collection, ("ja",), 1, person, seconds=2, ask=True)
    asked: list[int] = []
    person.speak = lambda: asked.append(block)  # type: ignore[method-assign]
    for block in range(30):  # of 40 ms
        session.feed(room(0.04), "", lost=int(block >= 10))
    assert asked == [26]  # 0.6 s after the loss, not after the beginning


@pytest.mark.parametrize("lost", [False, True])
def test_why_a_recording_was_rejected_can_be_read(tmp_path: Path, lost: bool) -> None:
    """Where sound is lost meanwhile, not for a shorter time."""
    person = Person()
    session = Session(Collection(tmp_path, "de", "s01"), ("ja",), 1, person, seconds=2, ask=True)
    fed: list[Wave] = []
    asked: list[float] = []
    person.speak = lambda: asked.append(0.04 * len(fed))  # type: ignore[method-assign]
    while len(fed) < 120:
        fed.append(room(0.04))
        session.feed(fed[-1], "", lost=int(lost and session.rejected == 1))
    first, second = asked
    assert second - first == pytest.approx(2 + 1.5, abs=0.09)
