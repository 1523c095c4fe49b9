"""Keeping the sound around hits and near misses."""

import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import click
import numpy as np
import pytest
import soundfile
from helpers import WholeViews
from numpy.typing import NDArray

from apps.listen import listen
from apps.listening.keep import LIMIT, ClipFolder, Keeper, Moment
from apps.listening.live import LiveEngine
from apps.listening.worker import Worker
from kws.config import SAMPLE_RATE
from kws.detector import DetectorConfig, Levels
from kws.errors import DiskFullError, KwsError

Wave = NDArray[np.float32]
SILENCE = np.zeros(160, np.float32)


class Level(WholeViews):
    """A spotter that scores the keyword as high as the middle of its view is loud."""

    languages = ("eng", "deu")
    active_adapter = "eng"

    def __init__(self, others: int = 1) -> None:
        self.labels = ("go/../stop", *(f"word {n}" for n in range(1, others)), "_silence_")

    def set_adapter(self, language: str) -> None:
        self.active_adapter = language

    def scores(self, view: Wave) -> Wave:
        score = float(np.abs(view[6_000:10_000]).mean())
        between = (0.0123,) * (len(self.labels) - 2)
        scores: Wave = np.array([score, *between, 1 - score], np.float32)
        return scores

    def detector_config(self, language: str) -> DetectorConfig:
        return DetectorConfig(threshold=0.5, smoothing=1, patience=3)


def said(score: float, seconds: float = 0.5) -> Wave:
    """A sound that scores so high, and quiet after it."""
    loud = np.full(round(seconds * SAMPLE_RATE), score, np.float32)
    return np.concatenate([loud, np.zeros(2 * SAMPLE_RATE, np.float32)])


def kept(folder: Path) -> list[dict[str, Any]]:
    records = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["file"] == path.with_suffix(".wav").name
        records.append(record)
    return records


def hear(folder: Path, *waves: Wave, **settings: Any) -> list[str]:
    """What is told while sounds are heard in blocks of a hop; all are written at the end."""
    engine, told = LiveEngine(Level()), list[str]()
    keeper = Keeper(folder, engine, told.append, capacity=None, **settings)
    engine.reactions.append(keeper.hear)
    wave = np.concatenate(waves)
    for start in range(0, len(wave), 1_280):
        engine.feed(wave[start : start + 1_280])
    engine.flush()
    keeper.close()
    return told


def test_a_hit_is_kept_with_the_sound_around_it_and_its_scores(tmp_path: Path) -> None:
    wave = np.r_[np.zeros(2 * SAMPLE_RATE, np.float32), said(0.8)]
    wave += 0.01 * np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    assert hear(tmp_path / "new" / "kept", wave) == []
    (record,) = kept(tmp_path / "new" / "kept")
    assert (record["kind"], record["keyword"]) == ("hit", "go/../stop")
    assert (record["language"], record["threshold"]) == ("eng", 0.5)
    age = datetime.now(UTC) - datetime.fromisoformat(record["written"])
    assert timedelta(0) <= age < timedelta(minutes=1)
    path = tmp_path / "new" / "kept" / record["file"]
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert info.duration == 1.5
    begin = round(record["begin"] * SAMPLE_RATE)
    heard, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(heard, wave[begin : begin + len(heard)], atol=1e-4)
    assert record["begin"] == pytest.approx(record["time"] - 1.25)
    scores = record["scores"]["go/../stop"]
    assert len(scores) == len(record["times"]) == len(record["scores"]["_silence_"])
    assert record["score"] in scores
    assert record["times"][scores.index(record["score"])] <= record["time"]


@pytest.mark.parametrize(
    ("score", "seconds", "kinds"),
    [
        (0.28, 0.5, []),  # below six tenths of the threshold
        (0.4, 0.5, ["near miss"]),
        (0.8, 0.26, ["near miss"]),  # too briefly
        (0.8, 0.5, ["hit"]),
        (0.4, 5.0, ["near miss"]),  # a sound that goes on is one
    ],
)
def test_what_is_a_near_miss(
    tmp_path: Path, score: float, seconds: float, kinds: list[str]
) -> None:
    hear(tmp_path, np.zeros(SAMPLE_RATE, np.float32), said(score, seconds))
    assert [record["kind"] for record in kept(tmp_path)] == kinds


def test_several_are_kept_in_their_order(tmp_path: Path) -> None:
    hear(tmp_path, said(0.8), said(0.4), said(0.8), said(0.45))
    records = kept(tmp_path)
    assert [record["kind"] for record in records] == ["hit", "near miss"] * 2
    times = [record["time"] for record in records]
    assert times == sorted(times)


def test_a_word_at_the_very_end_is_kept(tmp_path: Path) -> None:
    hear(tmp_path, said(0.8)[: round(0.4 * SAMPLE_RATE)])
    (record,) = kept(tmp_path)
    assert record["kind"] == "hit"
    assert soundfile.info(tmp_path / record["file"]).duration == pytest.approx(0.4)


def test_samples_that_are_no_number_are_kept_as_the_silence_that_they_were_heard_as(
    tmp_path: Path,
) -> None:
    """In files they would be clicks at full scale."""
    wave = said(0.8)
    wave[:2_000:7] = np.nan
    hear(tmp_path, wave)
    (record,) = kept(tmp_path)
    heard, _ = soundfile.read(tmp_path / record["file"], dtype="float32")
    assert np.abs(heard).max() <= np.nanmax(np.abs(wave)) + 1e-3


def test_the_oldest_of_each_kind_make_way(tmp_path: Path) -> None:
    """Over several runs; and near misses do not displace hits."""
    hear(tmp_path, said(0.8), *[said(0.4)] * 5, limit=3)
    hear(tmp_path, said(0.8), *[said(0.4)] * 2, limit=3)
    kinds = [record["kind"] for record in kept(tmp_path)]
    assert kinds.count("hit") == 2
    assert kinds.count("near miss") == 3
    assert len(os.listdir(tmp_path)) == 2 * 5
    assert [int(record["file"][:6]) for record in kept(tmp_path)] == [1, 6, 7, 8, 9]


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    mine = ["holiday.wav", "000001-notes.txt", "000001-hits.wav", "1-hit-go.wav", "000002-hit"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    hear(tmp_path, *[said(0.8)] * 4, limit=1)
    assert all((tmp_path / name).read_text() == "mine" for name in mine)
    assert len(os.listdir(tmp_path)) == len(mine) + 2


def test_a_folder_that_cannot_be_written_is_told_and_listening_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    engine, told = LiveEngine(Level()), list[str]()
    keeper = Keeper(folder, engine, told.append)
    engine.reactions.append(keeper.hear)
    folder.rmdir()
    folder.write_text("a file in its place")
    assert engine.feed(said(0.8))
    keeper.close()
    assert len(told) == 1
    assert told[0].startswith("--save-dir: cannot write")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KwsError, match="cannot keep clips in"):
        Keeper(tmp_path / "file", LiveEngine(Level()), print)


@pytest.mark.parametrize(
    "word", ["../../etc/passwd", "a\0b", "con\n", "..", "-rf", "很" * 500, "\x1b[2J", "a/b\\c:d"]
)
def test_no_keyword_makes_a_harmful_file_name(word: str, tmp_path: Path) -> None:
    ClipFolder(tmp_path, LIMIT).add(Moment("hit", word, "deu", (word,), 0.9, 0.5, 1.0), SILENCE, {})
    (path,) = tmp_path.rglob("*.wav")
    assert path.parent == tmp_path
    name = path.stem.removeprefix("000001-hit-")
    assert name
    assert not set(name) & set("\\\0\n\x1b:.")
    assert not name.startswith("-")
    assert len(path.name.encode()) < 200


@pytest.mark.parametrize("changes", [["deu"], ["deu", "eng"]])
def test_a_change_of_language_does_not_mix_scores(tmp_path: Path, changes: Sequence[str]) -> None:
    engine = LiveEngine(Level())
    keeper = Keeper(tmp_path, engine, print, capacity=None)
    engine.reactions.append(keeper.hear)
    wave = said(0.4)
    for number, start in enumerate(range(0, len(wave), 1_280)):
        if number == 12:
            for language in changes:
                engine.set_language(language)
        engine.feed(wave[start : start + 1_280])
    keeper.close()
    for record in kept(tmp_path):
        assert len(record["times"]) == len(set(record["times"]))
    assert kept(tmp_path)


def test_the_default_bound_is_stated_truly(tmp_path: Path) -> None:
    """For a network of some fifteen to forty classes, whose scores lie beside the sound."""
    option = next(one for one in listen.params if one.name == "save_limit")
    assert isinstance(option, click.Option)
    told = re.search(rf"\({LIMIT} of both: (\d+) to (\d+) MB\)", option.help or "")
    assert told
    for classes, stated in zip((14, 42), told.groups(), strict=True):
        folder = tmp_path / str(classes)
        engine = LiveEngine(Level(classes - 1))
        keeper = Keeper(folder, engine, print)
        engine.reactions.append(keeper.hear)
        engine.feed(np.r_[np.zeros(2 * SAMPLE_RATE, np.float32), said(0.8)])
        keeper.close()
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert pytest.approx(1e6 * int(stated), rel=0.1) == 2 * LIMIT * size


class Two(WholeViews):
    """A spotter of two keywords that scores as it is told."""

    labels = ("near", "far")
    languages = ("eng", "deu")
    active_adapter = "eng"
    told = (0.0, 0.0)

    def set_adapter(self, language: str) -> None:
        self.active_adapter = language

    def scores(self, view: Wave) -> Wave:
        found: Wave = np.array(self.told, np.float32)
        return found

    def detector_config(self, language: str) -> DetectorConfig:
        levels = {"near": Levels(0.3, 0.1), "far": Levels(0.95, 0.1)}
        return DetectorConfig(smoothing=1, patience=3, keywords=levels)


def test_the_nearest_miss_is_kept_not_the_highest(tmp_path: Path) -> None:
    """0.29 of 0.3 is nearer than 0.6 of 0.95; and what is heard in another language is another."""
    spotter = Two()
    engine = LiveEngine(spotter)
    keeper = Keeper(tmp_path, engine, print, capacity=None)
    engine.reactions.append(keeper.hear)
    for told, language in (
        ((0.29, 0.0), "eng"),
        ((0.0, 0.6), "eng"),
        ((0.0, 0.7), "deu"),
        ((0.0, 0.0), "deu"),
    ):
        spotter.told = told
        engine.set_language(language)
        engine.feed(np.zeros(1_280, np.float32))
    keeper.close()
    records = kept(tmp_path)
    assert [(r["keyword"], r["language"]) for r in records] == [("near", "eng"), ("far", "deu")]


def test_a_near_miss_in_the_last_silence_lies_in_the_sound(tmp_path: Path) -> None:
    spotter = Two()
    engine = LiveEngine(spotter)
    keeper = Keeper(tmp_path, engine, print, capacity=None)
    engine.reactions.append(keeper.hear)
    engine.feed(np.zeros(round(0.8 * SAMPLE_RATE), np.float32))
    spotter.told = 0.29, 0.0
    engine.flush()
    keeper.close()
    (record,) = kept(tmp_path)
    assert (record["kind"], record["time"]) == ("near miss", 0.8)


def test_clips_that_are_not_written_in_time_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = Event()
    monkeypatch.setattr(ClipFolder, "add", lambda *_: stuck.wait(60))
    engine, told = LiveEngine(Level()), list[str]()
    keeper = Keeper(tmp_path, engine, told.append)
    engine.reactions.append(keeper.hear)
    engine.feed(said(0.8))
    keeper.close(0.01)
    stuck.set()
    assert told == ["--save-dir: not all clips were written"]


def test_a_job_that_fails_in_an_unforeseen_way_is_told_and_the_next_one_done() -> None:
    told, done = list[str](), list[int]()
    worker = Worker("--save-dir", told.append)
    worker.submit(lambda: done.append(1 // 0))
    worker.submit(lambda: done.append(1))
    assert worker.close(60)
    assert (told, done) == (["--save-dir: integer division or modulo by zero"], [1])


@pytest.mark.parametrize("block", [1_280, 50_000])
def test_what_is_found_at_the_end_of_a_file_is_kept_with_its_scores(
    block: int, tmp_path: Path
) -> None:
    """A word that ends with the file is decided in the silence after it, hop by hop."""
    engine = LiveEngine(Level())
    keeper = Keeper(tmp_path, engine, print, capacity=None)
    engine.reactions.append(keeper.hear)
    wave = np.r_[np.zeros(SAMPLE_RATE, np.float32), np.full(4_500, 0.9, np.float32)]
    for start in range(0, len(wave), block):
        engine.feed(wave[start : start + block])
    engine.flush()
    keeper.close()
    (record,) = kept(tmp_path)
    assert record["score"] == pytest.approx(max(record["scores"]["go/../stop"]), abs=1e-3)


def test_a_clip_whose_record_cannot_be_written_is_not_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(tmp_path, said(0.8))

    def full(path: Path, record: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("apps.listening.keep.write_json", full)
        (told,) = hear(tmp_path, said(0.8), limit=1)
    assert "No space left" in told
    assert len(os.listdir(tmp_path)) == 2  # what was kept before


def test_on_a_full_disk_a_clip_takes_the_place_of_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, moment = ClipFolder(tmp_path, 9), Moment("hit", "ja", "deu", ("ja",), 0.9, 0.5, 1.0)
    room = 3

    def write(path: Path, data: bytes) -> None:
        if len(list(tmp_path.glob("*.wav"))) >= room:
            raise DiskFullError(f"cannot write {path}: the disk is full")
        path.write_bytes(data)

    monkeypatch.setattr("apps.listening.keep.write_bytes", write)
    for _ in range(5):
        clips.add(moment, SILENCE, {})
    assert [int(record["file"][:6]) for record in kept(tmp_path)] == [3, 5, 7]
    room = 0  # others have filled it
    for _ in range(3):
        with pytest.raises(DiskFullError, match="is full; clips are kept again once there is room"):
            clips.add(moment, SILENCE, {})
        assert len(kept(tmp_path)) == 2
    with pytest.raises(DiskFullError):  # of its own kind there is none to give way
        clips.add(replace(moment, kind="near"), SILENCE, {})
    assert len(kept(tmp_path)) == 2
    room = 3
    clips.add(moment, SILENCE, {})
    clips.add(moment, SILENCE, {})
    assert len(kept(tmp_path)) == 3


def test_a_disk_without_room_for_names_is_full_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, moment = ClipFolder(tmp_path, 9), Moment("hit", "ja", "deu", ("ja",), 0.9, 0.5, 1.0)
    clips.add(moment, SILENCE, {})
    touch = Path.touch

    def full(path: Path, **options: Any) -> None:
        if list(tmp_path.glob("*.wav")):
            raise OSError(errno.ENOSPC, "No space left on device")
        touch(path, **options)

    monkeypatch.setattr(Path, "touch", full)
    clips.add(moment, SILENCE, {})
    assert len(kept(tmp_path)) == 1
    ClipFolder(tmp_path, 9).add(moment, SILENCE, {})  # as one that is started again
    assert [record["file"][:6] for record in kept(tmp_path)] == ["000005"]


def test_a_lower_limit_holds_from_the_start(tmp_path: Path) -> None:
    moment = Moment("hit", "ja", "deu", ("ja",), 0.9, 0.5, 1.0)
    clips = ClipFolder(tmp_path, 5)
    for kind in ("hit", "near") * 3:
        clips.add(replace(moment, kind=kind), SILENCE, {})
    ClipFolder(tmp_path, 1)
    assert [record["file"] for record in kept(tmp_path)] == [
        "000005-hit-ja.wav",
        "000006-near-ja.wav",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there file names are text")
def test_words_of_any_script_are_kept_whatever_the_locale(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from apps.listening.keep import ClipFolder, Moment\n"
        "assert sys.getfilesystemencoding() != 'utf-8'\n"
        "moment = Moment('hit', '\\u062e\\u0644\\u0641', 'ar', ('a',), 0.9, 0.5, 1.0)\n"
        "for limit in (2, 1):\n"
        "    ClipFolder(Path('.'), limit).add(moment, np.zeros(160, np.float32), {})"
    )
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, **plain, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment)
    assert [record["file"] for record in kept(tmp_path)] == ["000002-hit-خلف.wav"]


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(KwsError, match=r"cannot write in .*\(Read-only file system\)"):
        Keeper(tmp_path, LiveEngine(Level()), print)


def test_a_file_of_somebody_elses_is_not_deleted_for_its_number(tmp_path: Path) -> None:
    clips, moment = ClipFolder(tmp_path, 1), Moment("hit", "ja", "deu", ("ja",), 0.9, 0.5, 1.0)
    clips.add(moment, SILENCE, {})
    mine = tmp_path / "000001-mine.txt"
    mine.touch()
    clips.add(moment, SILENCE, {})
    assert mine.exists()
    assert [record["file"] for record in kept(tmp_path)] == ["000002-hit-ja.wav"]


def test_the_oldest_of_what_was_there_makes_way_first(tmp_path: Path) -> None:
    """By its number, in whatever order the folder lists it."""
    for number in (8, 1_000, 33, 64):
        (tmp_path / f"{number:06}-hit-ja.wav").touch()
    ClipFolder(tmp_path, 3).add(Moment("hit", "ja", "deu", ("ja",), 0.9, 0.5, 1.0), SILENCE, {})
    left = sorted(path.name[:6] for path in tmp_path.glob("*.wav"))
    assert left == ["000064", "001000", "001001"]


def test_two_programs_may_keep_in_one_folder(tmp_path: Path) -> None:
    """Neither writes over the other's clips, nor deletes them with its own oldest."""
    moment = Moment("hit", "ja", "de", ("ja",), score=0.9, threshold=0.5, time=1.0)
    near = replace(moment, kind="near")
    one, other = ClipFolder(tmp_path, 1), ClipFolder(tmp_path, 1)
    for clips, kept in ((one, moment), (other, near), (one, moment)):
        clips.add(kept, np.zeros(100, np.float32), {})
    assert sorted(path.name for path in tmp_path.glob("*.wav")) == [
        "000002-near-ja.wav",
        "000003-hit-ja.wav",
    ]
    (tmp_path / ".000004").touch()  # another is writing it
    one.add(near, np.zeros(100, np.float32), {})
    assert (tmp_path / "000005-near-ja.wav").exists()


def test_of_a_near_miss_the_nearest_moment_is_kept_with_scores_of_its_language(
    tmp_path: Path,
) -> None:
    spotter = Two()
    engine = LiveEngine(spotter)
    keeper = Keeper(tmp_path, engine, print, capacity=None)
    engine.reactions.append(keeper.hear)
    for near, language in ((0.2, "eng"), (0.29, "eng"), (0.25, "eng"), (0.0, "deu")):
        spotter.told = near, 0.0
        engine.set_language(language)
        engine.feed(np.zeros(1_280, np.float32))
    keeper.close()
    (record,) = kept(tmp_path)
    assert (record["score"], record["time"]) == (0.29, 0.16)
    assert record["times"] == [0.08, 0.16, 0.24]  # not what was heard in the other language


def test_the_begin_of_a_sound_that_goes_on_is_kept_whole(tmp_path: Path) -> None:
    """However long it goes on: it is written while its sound is remembered."""
    hear(tmp_path, np.zeros(2 * SAMPLE_RATE, np.float32), said(0.4, 8.0))
    (record,) = kept(tmp_path)
    assert record["time"] < 4
    assert soundfile.info(tmp_path / record["file"]).duration == 1.5


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_new_folder_of_clips_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o755)
    for name, mode in (("new/kept", 0o700), ("mine", 0o755)):
        ClipFolder(tmp_path / name, 1)
        assert (tmp_path / name).stat().st_mode & 0o777 == mode


def test_what_a_power_cut_left_is_removed_at_the_start(tmp_path: Path) -> None:
    """But not what another program is writing, nor files of other names."""
    begun = [".000003", ".000003-hit-ja.wav.0a1b2c3d.tmp", ".000004-near-ja.json.0a1b2c3d.tmp"]
    mine = [".hidden", ".000003-notes.tmp", ".20261130", ".000005"]
    for name in begun + mine:
        (tmp_path / name).touch()
    (tmp_path / ".000005").write_text("a number that is taken has nothing in it")
    half_an_hour_ago = time.time() - 1_800
    for moment in (time.time(), half_an_hour_ago, 0):
        assert set(os.listdir(tmp_path)) == {*begun, *mine}
        for name in begun + mine:
            os.utime(tmp_path / name, (moment, moment))
        ClipFolder(tmp_path, 1)
    assert set(os.listdir(tmp_path)) == set(mine)
