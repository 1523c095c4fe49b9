"""A collection of recordings: its files, its manifest, and going on where it stopped."""

from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile

from audio_data import collection as collecting
from audio_data.collection import Collection, remaining, safe
from audio_data.corpus import read_corpus
from audio_data.splits import assign_splits
from kws.config import SAMPLE_RATE
from kws.errors import KwsError, UsageError

WAVE = (0.25 * np.sin(np.arange(SAMPLE_RATE // 2) / 5)).astype(np.float32)


@pytest.mark.parametrize("file_format", ["flac", "wav"])
def test_clips_are_read_back_as_they_were_added(tmp_path: Path, file_format: str) -> None:
    collection = Collection(tmp_path / "new", "de", "s01", file_format)  # type: ignore[arg-type]
    for word in ("ja", "nein", "ja"):
        collection.add(word, WAVE)
    clips = read_corpus(tmp_path / "new")
    names = [clip.path.relative_to(tmp_path / "new").as_posix() for clip in clips]
    assert names == [
        f"{name}.{file_format}" for name in ("ja/s01_001", "nein/s01_001", "ja/s01_002")
    ]
    assert {(clip.language, clip.speaker, clip.split) for clip in clips} == {("de", "s01", None)}
    info = soundfile.info(clips[0].path)
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
    heard, _ = soundfile.read(clips[0].path, dtype="float32")
    np.testing.assert_allclose(heard, WAVE, atol=1e-4)


def test_it_goes_on_where_it_stopped_beside_other_speakers(tmp_path: Path) -> None:
    for speaker in ("s01", "s02", "s01"):
        collection = Collection(tmp_path, "de", speaker)
        for word in ("ja", "ja", "nein"):
            collection.add(word, WAVE)
    assert Collection(tmp_path, "de", "s01").counts() == {"ja": 4, "nein": 2}
    assert Collection(tmp_path, "de", "s02").counts() == {"ja": 2, "nein": 1}
    assert Collection(tmp_path, "fr", "s01").counts() == {}
    clips = read_corpus(tmp_path)
    assert len({clip.path for clip in clips}) == 9


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    """Neither a clip of a run that was killed before it wrote the row, nor anything else."""
    (tmp_path / "ja").mkdir()
    (tmp_path / "manifest.csv").write_text("path,language,word,speaker,split\n")
    (tmp_path / "ja" / "s01_001.flac").write_bytes(b"mine")
    path = Collection(tmp_path, "de", "s01").add("ja", WAVE)
    assert path.name == "s01_002.flac"
    assert (tmp_path / "ja" / "s01_001.flac").read_bytes() == b"mine"


def test_a_clip_that_was_deleted_is_said_again(tmp_path: Path) -> None:
    """And is in the manifest once."""
    collection = Collection(tmp_path, "de", "s01")
    paths = [collection.add("ja", WAVE) for _ in range(3)]
    paths[1].unlink()
    assert collection.counts() == {"ja": 2}
    assert collection.add("ja", WAVE) == paths[1]
    assert collection.counts() == {"ja": 3}
    assert sorted(clip.path for clip in read_corpus(tmp_path)) == paths


def test_recordings_that_no_manifest_lists_are_not_left_out_silently(tmp_path: Path) -> None:
    """A manifest beside them would be all that is read."""
    (tmp_path / "ja").mkdir()
    (tmp_path / "ja" / "a_001.wav").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"that no manifest lists.*choose another --out"):
        Collection(tmp_path, "de", "s01")


def test_a_kill_before_the_first_row_leaves_a_folder_that_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    collection = Collection(tmp_path, "de", "s01")
    with monkeypatch.context() as patch:
        patch.setattr("audio_data.collection.write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            collection.add("ja", WAVE)
    Collection(tmp_path, "de", "s01").add("ja", WAVE)
    assert [clip.path.name for clip in read_corpus(tmp_path)] == ["s01_001.flac"]


def test_the_last_clips_can_be_undone_but_not_those_of_before(tmp_path: Path) -> None:
    Collection(tmp_path, "de", "s01").add("ja", WAVE)
    collection = Collection(tmp_path, "de", "s01")
    collection.add("nein", WAVE)
    path = collection.add("ja", WAVE)
    assert [collection.undo() for _ in range(3)] == ["ja", "nein", None]
    assert not path.exists()
    assert collection.counts() == {"ja": 1}


def test_other_columns_and_rows_of_the_manifest_stay(tmp_path: Path) -> None:
    text = "path,language,word,speaker,split,mood\nx/1.wav,en,yes,ann,train,glad\n"
    (tmp_path / "manifest.csv").write_text(text)
    collection = Collection(tmp_path, "de", "s01")
    collection.add("ja", WAVE)
    new = "ja/s01_001.flac,de,ja,s01,unsplit,\n"
    assert (tmp_path / "manifest.csv").read_text() == text + new
    collection.undo()
    assert (tmp_path / "manifest.csv").read_text() == text


def test_the_manifest_is_whole_after_each_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full loses what it cannot hold, and nothing else."""
    collection = Collection(tmp_path, "de", "s01")
    collection.add("ja", WAVE)
    before = (tmp_path / "manifest.csv").read_bytes()

    def full(path: Path, text: str) -> None:
        raise KwsError(f"cannot write {path}: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("audio_data.collection.write_text", full)
        with pytest.raises(KwsError, match="full"):
            collection.add("ja", WAVE)
    assert (tmp_path / "manifest.csv").read_bytes() == before
    collection.add("ja", WAVE)
    assert len(read_corpus(tmp_path)) == 2


def test_a_manifest_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,word\na.wav,ja\n")
    with pytest.raises(KwsError, match="lacks the column"):
        Collection(tmp_path, "de", "s01")


@pytest.mark.parametrize(("language", "speaker"), [("", "s01"), ("de", ""), ("de", "unknown")])
def test_a_language_and_a_person_are_needed(tmp_path: Path, language: str, speaker: str) -> None:
    with pytest.raises(UsageError):
        Collection(tmp_path, language, speaker)


def test_a_word_and_a_person_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    Collection(tmp_path, "es", "jose\u0301").add("si\u0301", WAVE)
    again = Collection(tmp_path, "es", "jos\u00e9")
    assert again.counts() == {"s\u00ed": 1}


def test_clips_are_the_persons_own_as_the_reader_has_them(tmp_path: Path) -> None:
    """Whose language has capitals, and whose name more blanks."""
    Collection(tmp_path, "de", "Ada L.").add("ja", np.zeros(SAMPLE_RATE, np.float32))
    manifest = tmp_path / "manifest.csv"
    text = manifest.read_text(encoding="utf-8").replace(",de,", ",DE,").replace("Ada L", "Ada  L")
    manifest.write_text(text, encoding="utf-8")
    for language, speaker in (("de", "Ada L."), ("DE", " Ada  L.")):
        assert Collection(tmp_path, language, speaker).counts() == {"ja": 1}


def test_a_person_is_not_spelt_in_two_ways(tmp_path: Path) -> None:
    Collection(tmp_path, "de", "Fatima").add("ja", WAVE)
    Collection(tmp_path, "de", "Fatima")
    with pytest.raises(UsageError, match="has a speaker 'Fatima'; write --speaker so"):
        Collection(tmp_path, "de", "fatima")


def test_three_speakers_are_split_by_people(tmp_path: Path) -> None:
    for speaker in ("s01", "s02", "s03"):
        collection = Collection(tmp_path, "de", speaker)
        for word in ("ja", "nein"):
            collection.add(word, WAVE)
    clips, warnings = assign_splits(read_corpus(tmp_path))
    splits = {clip.speaker: clip.split for clip in clips}
    assert sorted(map(str, splits.values())) == ["test", "train", "validation"]
    assert not warnings


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/passwd", "a\\b", "..", ".hidden", "_x_", "C:", "很" * 300, "a b", "-x"],
)
def test_any_word_and_any_name_make_a_file_inside_the_folder(tmp_path: Path, name: str) -> None:
    path = Collection(tmp_path, "de", name).add(name, WAVE)
    assert path.resolve().parent.parent == tmp_path.resolve()
    (clip,) = read_corpus(tmp_path)
    assert (clip.word, clip.speaker) == (name, name)


def test_different_words_have_different_folders() -> None:
    words = [
        "ja nein",
        "ja-nein",
        "ja/nein",
        "noise",
        "Noise",
        "clips",
        "_noise",
        "é",
        "e",
        "हाँ",
        "हा",
    ]
    assert len({safe(word) for word in words}) == len(words)
    assert not {safe(word).casefold() for word in words} & {"noise", "clips"}


def test_what_is_left_is_said_in_turns() -> None:
    assert remaining(["a", "b"], 2, Counter()) == ["a", "b", "a", "b"]
    assert remaining(["a", "b"], 3, Counter({"a": 3, "b": 1})) == ["b", "b"]
    assert remaining(["a"], 1, Counter({"a": 7})) == []


def many(folder: Path, speaker: str) -> None:
    collection = Collection(folder, "de", speaker)
    for _ in range(30):
        collection.add("ja", np.zeros(160, np.float32))


def test_two_people_may_record_into_one_folder_at_once(tmp_path: Path) -> None:
    start = get_context("spawn").Process
    people = [start(target=many, args=(tmp_path, speaker)) for speaker in ("s01", "s02")]
    Collection(tmp_path, "de", "s00").add("ja", np.zeros(160, np.float32))
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert [person.exitcode for person in people] == [0, 0]
    assert len(read_corpus(tmp_path)) == 61


@pytest.mark.parametrize("writing", ["write_text", "write_bytes"])
def test_two_who_begin_at_once_lose_no_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writing: str
) -> None:
    """Neither by a manifest that is begun twice, nor by a name that is free for both."""
    mine, other = (Collection(tmp_path / "new", "de", "s01") for _ in range(2))
    meanwhile = Thread(target=other.add, args=("ja", WAVE))
    write = getattr(collecting, writing)

    def slow(*what: object) -> None:
        if meanwhile.ident is None:
            meanwhile.start()
            meanwhile.join(0.5)  # it waits for its turn, or ends before this is written
        write(*what)

    monkeypatch.setattr(collecting, writing, slow)
    mine.add("ja", 0.5 * WAVE)
    meanwhile.join()
    names = [clip.path.name for clip in read_corpus(tmp_path / "new")]
    assert names == ["s01_001.flac", "s01_002.flac"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    collection = Collection(tmp_path / "file" / "new", "de", "s01")
    with pytest.raises(KwsError, match=r"cannot write in .*choose another --out"):
        collection.add("ja", WAVE)


@pytest.mark.parametrize("speaker", ["J\udcf6rg", "a\nb", "NA", " "])
def test_a_person_has_a_name_that_can_be_found_again(tmp_path: Path, speaker: str) -> None:
    with pytest.raises(UsageError, match="--speaker must name the person"):
        Collection(tmp_path, "de", speaker)
