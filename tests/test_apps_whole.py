"""The whole path from nothing, as small as it gets, and the stream it ends in."""

import io
import json
import shlex
import shutil
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers import WholeViews
from numpy.typing import NDArray

from apps import whole
from apps.cli import kws
from apps.demo_stream import GAP, Said, compose, hear, is_right, matched, record, stream_table
from apps.listening.live import LiveEngine
from apps.training import learn, pretraining
from apps.whole import NAMES, TURNS, Row, Size
from audio_data.clips import Clip
from kws.adapter import read_adapter_config
from kws.config import SAMPLE_RATE
from kws.detector import Detection, DetectorConfig
from kws.errors import UsageError
from kws.files import read_json
from kws.train import Plan
from models.bcresnet import BCResNet

ROOT = Path(__file__).resolve().parent.parent
Wave = NDArray[np.float32]
TINY = Size(words=3, speakers=3, takes=1, base_epochs=2, adapter_epochs=4, turn=2)


@dataclass(frozen=True)
class Done:
    out: Path
    rows: list[Row]
    printed: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What one whole run leaves and prints."""
    out = tmp_path_factory.mktemp("demo") / "out"
    with redirect_stdout(io.StringIO()) as printed:
        rows, _ = whole.run(out, TINY, 0, "cpu")
    return Done(out, rows, printed.getvalue())


def test_three_languages_are_learnt_two_of_them_under_the_budget(done: Done) -> None:
    assert [(row.language, row.words) for row in done.rows] == [(name, 3) for name in NAMES]
    base, *adapted = done.rows
    assert base.parameters == sum(p.numel() for p in BCResNet(5).parameters())
    for row in adapted:
        assert (row.method, row.budget) == ("swr", "10%")
        assert 0 < row.parameters <= base.parameters // 10
        assert row.stored_bytes == (
            (done.out / row.language / "adapter_model.safetensors").stat().st_size
        )


def test_it_prints_both_tables_and_pictures_that_are_there(done: Done) -> None:
    stream, table = done.printed.split("words were recognised correctly.")
    assert all(title in stream for title in ("The stream", *NAMES.values()))
    assert all(title in table for title in ("What each language owns", *NAMES.values()))
    cells = [line.rstrip("│ ").rpartition("│")[2].strip() for line in stream.splitlines()]
    assert stream.endswith(f"{cells.count('right')} of {len(TURNS) * TINY.turn} ")
    pictures = [line.strip() for line in done.printed.splitlines() if line.endswith(".png")]
    assert done.out / "sites.png" in map(Path, pictures)
    assert all(Path(picture).stat().st_size for picture in pictures)
    assert "docs/comparing.md shows" in done.printed
    assert "kws pretrain" in (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")


def test_the_commands_it_says_to_try_work(done: Done) -> None:
    lines = [shlex.split(line) for line in done.printed.splitlines() if " listen " in line]
    (replay,) = [words[1:] for words in lines if "--wav" in words]
    replay.remove("--real-time")
    result = CliRunner().invoke(kws, [*replay, "--json", "--threshold", "0.01"])  # the last wins
    assert result.exit_code == 0
    assert {json.loads(line)["language"] for line in result.stdout.splitlines()} == {"en"}


def test_the_command_runs_it_in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr(whole, "run", lambda *arguments: called.extend(arguments))
    assert (
        CliRunner().invoke(kws, ["demo", "--whole", "--seed", "3", "--device", "cpu"]).exit_code
        == 0
    )
    assert called == [Path("runs/demo"), Size(), 3, "cpu"]


def test_what_is_done_is_not_done_again(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(pretraining, "run", refuse)
    monkeypatch.setattr(learn, "learn_language", refuse)
    rows, _ = whole.run(done.out, TINY, 0, "cpu")
    assert rows == done.rows


def test_what_was_stopped_beside_its_last_files_is_not_done(tmp_path: Path) -> None:
    plan = Plan(epochs=1, lr=0.1)

    def done() -> bool:
        return whole._finished(tmp_path, plan, lambda: {"plan": asdict(plan)})

    assert done()
    (tmp_path / "checkpoint-pretrain.safetensors").write_bytes(b"")
    assert not done()


def test_a_damaged_base_and_what_hangs_on_it_are_made_again(
    done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[Path] = []
    for module, name in ((pretraining, "run"), (learn, "learn_language")):
        real = getattr(module, name)

        def note(*arguments, real=real, **options):  # type: ignore[no-untyped-def]
            learnt.extend(item for item in arguments if isinstance(item, Path))
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, note)
    (done.out / "base" / "base_model.safetensors").write_bytes(b"")
    (done.out / "cmn" / "adapter_config.json").write_text("{}")
    assert whole.run(done.out, TINY, 0, "cpu")[0] == done.rows  # the same seed, the same weights
    assert [folder.name for folder in learnt] == ["base", "cmn"]
    sha256 = read_json(done.out / "base" / "base_config.json")["sha256"]
    assert read_adapter_config(done.out / "ar").base_sha256 == sha256


def test_a_base_that_was_not_made_here_is_not_changed(tiny: Path, tmp_path: Path) -> None:
    """Though it was learnt from synthetic voices too; nothing is made beside it."""
    shutil.copytree(tiny / "base", base := tmp_path / "base")
    before = {path: path.read_bytes() for path in base.iterdir()}
    with pytest.raises(UsageError, match="base holds a base, which is never changed; name another"):
        whole.run(tmp_path, TINY, 0, "cpu")
    selection, plan = whole._select(tiny, "en"), Plan(epochs=1, lr=0.1)
    with pytest.raises(UsageError, match="holds a base, which is never changed"):
        pretraining.run(selection, 1, plan, "cpu", base)
    assert before == {path: path.read_bytes() for path in base.iterdir()}
    assert [*tmp_path.iterdir()] == [base]


# --- the stream ---------------------------------------------------------------------------------


@dataclass
class Loudness(WholeViews):
    """Hears the keyword of the active language where the middle of its view is loud."""

    active_adapter: str = "en"
    languages: tuple[str, ...] = ("en", "cmn")
    switched: list[str] = field(default_factory=list)

    @property
    def labels(self) -> tuple[str, ...]:
        return (f"word of {self.active_adapter}", "_silence_")

    def set_adapter(self, language: str) -> None:
        self.switched.append(language)
        self.active_adapter = language

    def scores(self, view: Wave) -> Wave:
        loud = np.abs(view[6_000:10_000]).mean() > 0.1
        return np.array([0.9, 0.1] if loud else [0.1, 0.9], np.float32)

    def detector_config(self, language: str) -> DetectorConfig:
        return DetectorConfig(smoothing=1, patience=1)


def clip(folder: Path, language: str, word: str = "", split: str = "test") -> Clip:
    word = word or f"word of {language}"
    path = folder / f"{language} {word} {split}.wav"
    soundfile.write(path, np.full(SAMPLE_RATE, 0.5, np.float32), SAMPLE_RATE)
    return Clip(path=path, word=word, language=language, split=split)  # type: ignore[arg-type]


def test_every_word_is_heard_in_its_own_language(tmp_path: Path) -> None:
    turns = ["en", "en", "cmn", "en", "cmn"]
    said = record([clip(tmp_path, language) for language in turns], tmp_path / "stream.wav")
    assert [one.begin for one in said] == [i * (1 + GAP) for i in range(5)]
    bank = Loudness()
    heard = hear(LiveEngine(bank), tmp_path / "stream.wav", said, tmp_path / "screen.svg")
    assert all(map(is_right, said, heard))
    wave, _ = soundfile.read(tmp_path / "stream.wav")
    between = wave[SAMPLE_RATE : 2 * SAMPLE_RATE]  # a quiet room
    assert np.sqrt(np.mean(np.square(between))) == pytest.approx(1e-3, rel=0.5)
    assert bank.switched == ["cmn", "en", "cmn"]


def test_a_stream_is_of_unseen_people_and_never_repeats_a_word_in_a_turn(tmp_path: Path) -> None:
    clips = [
        clip(tmp_path, language, word, split)
        for language in ("en", "cmn")
        for word in "abcd"
        for split in ("train", "test")
    ]
    chosen = compose(clips, ["cmn", "en", "cmn"], 3, seed=1)
    assert [one.language for one in chosen] == ["cmn"] * 3 + ["en"] * 3 + ["cmn"] * 3
    assert {one.split for one in chosen} == {"test"}
    assert all(len({one.word for one in chosen[i : i + 3]}) == 3 for i in (0, 3, 6))
    assert compose(clips, ["cmn", "en", "cmn"], 3, seed=1) == chosen
    assert {one.word for one in compose(clips, ["en"], 4, seed=1)} == set("abcd")
    with pytest.raises(UsageError, match="4 words by test speakers in en, but 5 are needed"):
        compose(clips, ["en"], 5, seed=1)


def test_a_word_heard_twice_or_in_another_language_is_not_right() -> None:
    go = Said("go", "en", 0.0)
    event = Detection("go", "en", 0.9, 0.8)
    assert is_right(go, [event])
    assert not is_right(go, [event, event])
    assert not is_right(go, [])
    assert not is_right(go, [Detection("go", "de", 0.9, 0.8)])
    assert matched([go, Said("stop", "en", 2.0)], [event]) == [[event], []]


def test_a_table_says_what_was_heard_of_each_word() -> None:
    said = [Said("go", "en", 0.0), Said("stop", "en", 2.0), Said("ja", "de", 4.5)]
    heard = [[("go", 0.9, 0.8)], [("go", 0.8, 2.8), ("stop", 0.7, 3.1)], []]
    events = [[Detection(word, "en", *rest) for word, *rest in some] for some in heard]
    table = stream_table(list(zip(said, events, strict=True)), {"en": "English", "de": "German"})
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows == [
        ("0.0 s", "English", "go", "go", "0.8 s", "0.90", "right"),
        ("2.0 s", "English", "stop", "go\nstop", "2.8 s\n3.1 s", "0.80\n0.70", "wrong"),
        ("4.5 s", "German", "ja", "-", "", "", "missed"),
    ]
    assert [row.end_section for row in table.rows] == [False, True, False]
