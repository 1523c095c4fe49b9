"""Readers: every form of corpus becomes the same clips; what is wrong is named."""

import os
import shlex
import shutil
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_data.clips import Clip
from audio_data.corpus import read_corpus, read_others, unlisted
from audio_data.decode import decode
from audio_data.folder import read_folder
from audio_data.manifest import read_manifest, select, write_manifest
from audio_data.mswc import read_mswc
from audio_data.noise import find_noise
from audio_data.speech_commands import read_speech_commands
from kws.errors import KwsError, UsageError
from kws.names import UNKNOWN

HEADER = "path,language,word,speaker,split,corpus"
ROWS = [
    "a/1.wav,eng,yes,ann,train,one",
    "a/2.wav,eng,no,ben,validation,one",
    "a/3.wav,spa,sí,cyd,test,two",
    "a/4.wav,spa,no,,unsplit,two",
    "a/5.wav,eng,yes,unknown,,three",
]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def manifest(folder: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    for number in range(1, 6):
        touch(folder / "a" / f"{number}.wav")
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


@pytest.fixture
def speech_commands(tmp_path: Path) -> Path:
    root = tmp_path / "speech_commands"
    for word in ("yes", "no"):
        for name in ("ann_nohash_0.wav", "ann_nohash_1.wav", "ben_nohash_0.wav", "odd.wav"):
            touch(root / word / name)
    touch(root / "_background_noise_" / "tap.wav")
    touch(root / "_background_noise_" / "README.md")
    touch(root / "yes" / "._ann_nohash_0.wav")
    (root / "validation_list.txt").write_text("yes/ben_nohash_0.wav\nno/ben_nohash_0.wav\n")
    (root / "testing_list.txt").write_text("no/odd.wav\nmaybe/absent_nohash_0.wav\n")
    return root


MSWC_ROWS = (
    "TRAIN,ja/1.opus,ja,TRUE,s1,MALE",
    "DEV,ja/2.opus,ja,TRUE,s2,FEMALE",
    "TEST,nein/3.opus,nein,TRUE,NA,NAN",
    "TRAIN,nein/4.opus,nein,FALSE,s4,NAN",
    "TRAIN,left-out/5.opus,left-out,TRUE,s5,NAN",
)


def mswc(root: Path, *rows: str, language: str = "de") -> Path:
    for name in ("ja/1.opus", "ja/2.opus", "nein/3.opus", "nein/4.opus"):
        touch(root / "clips" / name)
    text = "\n".join(["SET,LINK,WORD,VALID,SPEAKER,GENDER", *rows]) + "\n"
    (root / f"{language}_splits.csv").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    root = tmp_path / "plain"
    for name in ("on/ann-1.wav", "on/ben-2.FLAC", "off/ann-3.ogg", "off/x.mp3", "off/y.opus"):
        touch(root / name)
    for name in ("on/notes.txt", "_trash/a.wav", ".git/b.wav", "loose.wav"):
        touch(root / name)
    return root


def error(caught: pytest.ExceptionInfo[KwsError], *parts: str) -> None:
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


# --- manifest


def test_a_manifest_says_all_of_a_clip(tmp_path: Path) -> None:
    clips = read_manifest(manifest(tmp_path, *ROWS))
    assert clips[2] == Clip(
        path=tmp_path / "a" / "3.wav", word="sí", language="spa", speaker="cyd", split="test"
    )
    assert [clip.split for clip in clips] == ["train", "validation", "test", None, None]
    assert [clip.speaker for clip in clips] == ["ann", "ben", "cyd", None, None]


def test_words_and_people_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    """Composed or not (Unicode NFC and NFD), and in filters too."""
    path = manifest(
        tmp_path,
        "a/1.wav,fra,caf\u00e9,jos\u00e9,,one",
        "a/2.wav,fra,cafe\u0301,jose\u0301,,one",
        "a/3.wav,fra,the\u0301,ann,,one",
    )
    clips = read_manifest(path, {"word": ["cafe\u0301"]})
    assert {(clip.word, clip.speaker) for clip in clips} == {("caf\u00e9", "jos\u00e9")}
    assert len(clips) == 2


@pytest.mark.parametrize("nobody", ["NA", "nan", "None", "N/A", " ? ", "null"])
def test_who_is_not_known_is_nobody(tmp_path: Path, nobody: str) -> None:
    """However spreadsheets and other programs write it."""
    (clip,) = read_manifest(manifest(tmp_path, f"a/1.wav,fra,oui,{nobody},,one"))
    assert clip.speaker is None


def test_spaces_around_values_are_none_of_theirs(tmp_path: Path) -> None:
    """In paths and in filters too."""
    path = manifest(tmp_path, " a/1.wav , fra,oui , ann ,train , one")
    (clip,) = read_manifest(path, {"language": ["fra"], "corpus": ["one"]})
    assert (clip.path.name, clip.word, clip.speaker, clip.split) == ("1.wav", "oui", "ann", "train")


def test_a_part_of_a_corpus_serves_for_other_words(tmp_path: Path) -> None:
    path = manifest(tmp_path, *ROWS, "gone/1.wav,deu,ja,dan,train,four")
    with pytest.raises(KwsError, match=r"row 7 names .*gone/1.wav, which does not exist"):
        read_corpus(path)
    clips = read_corpus(path, {"language": ["eng"]})
    assert {clip.word for clip in read_others(clips, path, {"language": ["eng"]})} == {"sí", "no"}


def test_what_a_folder_holds_beside_its_manifest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    path = manifest(tmp_path / "data", *ROWS)
    listed = [tmp_path / "data" / "a" / "4.wav", touch(tmp_path / "outside" / "1.wav")]
    touch(tmp_path / "outside" / "2.wav")  # elsewhere, all may lie
    rows = [
        *(row.rpartition(",")[0] for row in ROWS[:3]),
        *(f"{file},spa,no,," for file in listed),
        "a/../a/5.wav,eng,yes,,",
    ]
    path.write_text("\n".join([HEADER.removesuffix(",corpus"), *rows]) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert unlisted(Path("data")) == []
    left = [touch(Path("data") / name) for name in ("a/6.wav", "a/7.flac", "b/9.wav")]
    for name in ("a/notes.txt", "a/.8.wav", "noise/1.wav"):
        touch(Path("data") / name)
    assert unlisted(Path("data")) == left
    assert unlisted(Path("data") / path.name) == []  # who names a manifest means it


def test_folders_that_are_links_closed_or_gone_hold_nothing_beside(tmp_path: Path) -> None:
    touch(tmp_path / "far" / "1.wav")
    data = tmp_path / "data"
    odd = [f"{name}/1.wav,eng,yes,ann,train,one" for name in ("yes", "gone", "lo\0w")]
    manifest(data, *ROWS, *odd)
    (data / "yes").symlink_to(tmp_path / "far", target_is_directory=True)
    assert unlisted(data) == []
    closed = touch(data / "lost+found" / "1.wav").parent
    closed.chmod(0o000)
    try:
        assert unlisted(data) == ([closed / "1.wav"] if os.access(closed, os.R_OK) else [])
    finally:
        closed.chmod(0o700)


def test_a_row_that_is_there_twice_is_one_recording(tmp_path: Path) -> None:
    path = manifest(tmp_path, *ROWS, ROWS[0])
    assert len(read_corpus(path)) == len(ROWS)


def test_others_count_once_and_unknown_words_of_ones_own_hide_none(tmp_path: Path) -> None:
    for corpus in ("mine", "more"):
        for word in ("hey", UNKNOWN):
            touch(tmp_path / corpus / word / f"{corpus}.wav")
    clips = read_corpus(tmp_path / "mine")
    others = read_others(clips, tmp_path / "mine", others=tmp_path / "more")
    assert [clip.path.parent.name for clip in others] == [UNKNOWN]
    only = {"word": ["hey"]}
    clips = read_corpus(tmp_path / "mine", only)
    spelt = tmp_path / "more" / ".." / "mine"
    others = read_others(clips, tmp_path / "mine", only, others=spelt)
    assert [clip.path.name for clip in others] == ["mine.wav"]


def test_other_words_come_from_another_corpus(tmp_path: Path) -> None:
    """But not the recordings that are there already, whatever they are called there."""
    path = manifest(tmp_path, *ROWS)
    own = touch(tmp_path / "own" / "hey" / "1.wav")
    link = tmp_path / "a" / "3.wav"
    link.unlink()
    link.symlink_to(own)
    clips = read_corpus(tmp_path / "own")
    others = read_others(clips, tmp_path / "own", others=path)
    assert [clip.path.name for clip in others] == ["1.wav", "2.wav", "4.wav", "5.wav"]


def test_a_manifest_without_languages_is_told_the_language(tmp_path: Path) -> None:
    path = manifest(tmp_path, "a/1.wav,,yes,ann,train,one", "a/2.wav,,no,ben,train,one")
    assert {clip.language for clip in read_corpus(path, language="en")} == {"en"}


def test_a_manifest_keeps_the_licence(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "a/1.wav,eng,yes,ann,train,CC0",
        "a/2.wav,eng,yes,ann,train,",
        header="path,language,word,speaker,split,licence",
    )
    assert [clip.licence for clip in read_manifest(path)] == ["CC0", None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_manifest_may_begin_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    assert len(read_manifest(manifest(tmp_path, *ROWS, encoding=encoding))) == 5


def test_a_manifest_that_a_spreadsheet_saved_reads_as_before(tmp_path: Path) -> None:
    """With semicolons, as where commas are decimal points, and with names in capitals."""
    before = read_manifest(manifest(tmp_path, *ROWS))
    rows = [row.replace(",", ";") for row in ROWS]
    path = manifest(tmp_path, *rows, header="Path;LANGUAGE;word;Speaker;split;Corpus")
    assert read_manifest(path) == before
    assert unlisted(tmp_path) == []
    with pytest.raises(KwsError, match=r"lacks the column.* word; .* split at ';'"):
        read_manifest(manifest(tmp_path, *rows, header="path;language;speaker;split;corpus;x"))


def test_an_absolute_path_works(tmp_path: Path) -> None:
    sound = touch(tmp_path / "elsewhere" / "x.wav")
    path = manifest(tmp_path / "here", f"{sound},eng,yes,ann,train,one")
    assert read_manifest(path)[0].path == sound


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"corpus": ["one"]}, ["yes", "no"]),
        ({"corpus": ["one", "three"]}, ["yes", "no", "yes"]),
        ({"corpus": ["one", "three"], "word": ["yes"]}, ["yes", "yes"]),
        ({"split": ["unsplit"]}, ["no", "yes"]),  # and where none is told
        ({}, ["yes", "no", "sí", "no", "yes"]),
    ],
)
def test_filters_join_values_with_or_and_columns_with_and(
    tmp_path: Path, filters: dict[str, list[str]], words: list[str]
) -> None:
    clips = read_manifest(manifest(tmp_path, *ROWS), filters)
    assert [clip.word for clip in clips] == words


def test_a_filter_on_no_column_names_the_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_manifest(manifest(tmp_path, *ROWS), {"colour": ["red"]})
    error(caught, "'colour'", "corpus", "speaker")


@pytest.mark.parametrize("filters", [{"corpus": ["four"]}, {"word": ["sí"], "corpus": ["one"]}])
def test_a_filter_that_selects_nothing_names_values(
    tmp_path: Path, filters: dict[str, list[str]]
) -> None:
    with pytest.raises(UsageError) as caught:
        read_manifest(manifest(tmp_path, *ROWS), filters)
    error(caught, "selects nothing", "corpus=", "'two'")


@pytest.mark.parametrize("column", ["path", "language", "word", "speaker", "split"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    header = HEADER.replace(column, "other")
    with pytest.raises(KwsError) as caught:
        read_manifest(manifest(tmp_path, *ROWS, header=header))
    error(caught, f"lacks the column(s) {column};", "other")


def test_an_unknown_split_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(KwsError) as caught:
        read_manifest(manifest(tmp_path, *ROWS, "a/1.wav,eng,yes,ann,dev,one"))
    error(caught, "row 7", "'dev'", "train, validation, test, unsplit")


def test_a_path_that_does_not_exist_names_its_row(tmp_path: Path) -> None:
    path = manifest(tmp_path, *ROWS, "a/9.wav,eng,yes,ann,train,four", "b/1.wav,e,y,a,train,one")
    with pytest.raises(KwsError) as caught:
        read_manifest(path)
    error(caught, "row 7", "9.wav", "does not exist")
    with pytest.raises(KwsError, match=r"row 8 .*1\.wav"):
        read_manifest(path, {"corpus": ["one"]})
    assert len(read_manifest(path, {"corpus": ["two"]})) == 2  # rows not selected may be amiss


@pytest.mark.parametrize(
    ("row", "column"), [(",e,yes,,train,c", "path"), ("a/1.wav,e,,,,", "word")]
)
def test_an_empty_field_names_its_row(tmp_path: Path, row: str, column: str) -> None:
    with pytest.raises(KwsError, match=f"row 2 has an empty {column}"):
        read_manifest(manifest(tmp_path, row))


def test_a_comma_too_many_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="row 3 has more fields than the header"):
        read_manifest(manifest(tmp_path, ROWS[0], "a/1.wav,eng,yes, sir,ann,train,one"))


def test_manifests_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="no rows"):
        read_manifest(manifest(tmp_path))
    (tmp_path / "manifest.csv").write_text("")
    with pytest.raises(KwsError, match="is empty"):
        read_manifest(tmp_path / "manifest.csv")


def test_manifests_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="does not exist"):
        read_manifest(tmp_path / "absent.csv")
    with pytest.raises(KwsError, match="UTF-8"):
        read_manifest(manifest(tmp_path, *ROWS, encoding="utf-16"))
    with pytest.raises(KwsError, match="cannot be read"):
        read_manifest(tmp_path)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    sound = touch(tmp_path / "elsewhere" / "x.wav")
    clips = read_manifest(manifest(tmp_path / "data", *ROWS))
    clips.append(Clip(path=sound, word='so-called "word", no', licence="CC0"))
    path = tmp_path / "data" / "again.csv"
    write_manifest(path, clips)
    assert read_manifest(path) == clips
    text = path.read_text(encoding="utf-8")
    assert "\na/1.wav,eng,yes,ann,train," in text  # relative, so that the folder can move
    assert sorted(file.name for file in path.parent.iterdir()) == ["a", "again.csv", "manifest.csv"]


# --- Speech Commands


def test_speech_commands_lists_say_the_split(speech_commands: Path) -> None:
    clips = read_speech_commands(speech_commands)
    assert len(clips) == 8
    assert {(clip.language, clip.licence) for clip in clips} == {("en", "CC-BY-4.0")}
    assert {clip.word for clip in clips} == {"yes", "no"}
    found = {f"{clip.word}/{clip.path.name}": (clip.speaker, clip.split) for clip in clips}
    assert found["yes/ann_nohash_1.wav"] == ("ann", "train")
    assert found["no/ben_nohash_0.wav"] == ("ben", "validation")
    assert found["no/odd.wav"] == (None, "test")
    assert found["yes/odd.wav"] == (None, "train")


def test_lists_name_words_of_two_parts_and_in_whichever_form(tmp_path: Path) -> None:
    for word in ("oh no", "si\u0301"):
        (tmp_path / word).mkdir()
        for speaker in ("a", "b"):
            (tmp_path / word / f"{speaker}_nohash_0.wav").touch()
    (tmp_path / "validation_list.txt").touch()
    text = "oh no/a_nohash_0.wav\ns\u00ed/a_nohash_0.wav\n"
    (tmp_path / "testing_list.txt").write_text(text, encoding="utf-8")
    clips = read_speech_commands(tmp_path)
    assert {(clip.speaker, clip.split) for clip in clips} == {("a", "test"), ("b", "train")}


def test_background_noise_is_no_word(speech_commands: Path) -> None:
    assert [path.name for path in find_noise(speech_commands)] == ["tap.wav"]
    assert {clip.word for clip in read_speech_commands(speech_commands)} == {"yes", "no"}


def test_speech_commands_without_a_list_is_refused(speech_commands: Path) -> None:
    (speech_commands / "validation_list.txt").unlink()
    with pytest.raises(KwsError, match=r"validation_list\.txt cannot be read"):
        read_speech_commands(speech_commands)


def test_speech_commands_without_words_is_refused(tmp_path: Path) -> None:
    (tmp_path / "validation_list.txt").touch()
    (tmp_path / "testing_list.txt").touch()
    with pytest.raises(KwsError, match="no recordings"):
        read_speech_commands(tmp_path)


# --- Multilingual Spoken Words


def test_mswc_reads_the_valid_clips_of_the_words_there_are(tmp_path: Path) -> None:
    clips = read_mswc(mswc(tmp_path, *MSWC_ROWS))
    found = [(clip.path.name, clip.word, clip.speaker, clip.split) for clip in clips]
    assert found == [
        ("1.opus", "ja", "s1", "train"),
        ("2.opus", "ja", "s2", "validation"),
        ("3.opus", "nein", None, "test"),
    ]
    assert {(clip.language, clip.licence) for clip in clips} == {("de", "CC-BY-4.0")}
    assert all(clip.path.is_file() for clip in clips)


def test_mswc_words_are_found_however_their_folders_are_written(tmp_path: Path) -> None:
    mswc(tmp_path, "TRAIN,caf\u00e9/1.opus,caf\u00e9,TRUE,s1,MALE")
    touch(tmp_path / "clips" / "cafe\u0301" / "1.opus")
    (clip,) = read_mswc(tmp_path)
    assert clip.word == "caf\u00e9"
    assert clip.path.is_file()


def test_mswc_of_several_languages_wants_one(tmp_path: Path) -> None:
    mswc(tmp_path, *MSWC_ROWS)
    mswc(tmp_path, *MSWC_ROWS[:2], language="nl")
    with pytest.raises(UsageError, match="de, nl"):
        read_mswc(tmp_path)
    assert {clip.language for clip in read_mswc(tmp_path, "nl")} == {"nl"}
    for none in ("fr", "d"):
        with pytest.raises(UsageError, match=f"not {none}; choose with --language"):
            read_mswc(tmp_path, none)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("DEBUG,ja/1.opus,ja,TRUE,s1,MALE", "row 2 has SET 'DEBUG'"),
        ("TRAIN,ja/9.opus,ja,TRUE,s1,MALE", r"row 2 .*9\.opus, which does not exist"),
        ("TRAIN,ja/1.opus,ja,FALSE,s1,MALE", "none of the clips"),
        ("TRAIN,ja/1.opus,ja,False,s1,MALE", "none of the clips"),
    ],
)
def test_mswc_names_what_is_wrong(tmp_path: Path, row: str, match: str) -> None:
    with pytest.raises(KwsError, match=match):
        read_mswc(mswc(tmp_path, row))


def test_mswc_counts_rows_that_are_left_out_too(tmp_path: Path) -> None:
    """The number is that of the row in the file."""
    rows = *MSWC_ROWS[3:], "TRAIN,ja/9.opus,ja,TRUE,s1,MALE"
    with pytest.raises(KwsError, match=r"row 4 .*9\.opus, which does not exist"):
        read_mswc(mswc(tmp_path, *rows))


def test_mswc_without_a_column_is_refused(tmp_path: Path) -> None:
    table = mswc(tmp_path, *MSWC_ROWS) / "de_splits.csv"
    table.write_text(table.read_text().replace("SPEAKER", "WHO"))
    with pytest.raises(KwsError, match=r"lacks the column\(s\) SPEAKER"):
        read_mswc(tmp_path)
    table.write_text("")
    with pytest.raises(KwsError, match=r"is empty; it needs a header with .*SPEAKER"):
        read_mswc(tmp_path)


# --- plain folders


def test_a_plain_folder_has_words_and_nobody(plain: Path) -> None:
    clips = read_folder(plain, language="eo")
    assert [f"{clip.word}/{clip.path.name}" for clip in clips] == [
        "off/ann-3.ogg",
        "off/x.mp3",
        "off/y.opus",
        "on/ann-1.wav",
        "on/ben-2.FLAC",
    ]
    assert {(clip.language, clip.speaker, clip.split) for clip in clips} == {("eo", None, None)}


def test_recordings_that_would_go_unheard_are_told(plain: Path) -> None:
    """Of a format that is not read, or in folders of folders."""
    touch(plain / "up" / "ann" / "1.wav")
    with pytest.raises(KwsError, match=r"ann/1\.wav lies too deep; put recordings into .*up"):
        read_folder(plain)
    touch(plain / "up" / "1.wav")
    with pytest.raises(KwsError, match=r"ann/1\.wav lies too deep"):  # whatever lies beside it
        read_folder(plain)
    shutil.rmtree(plain / "up" / "ann")
    assert {clip.word for clip in read_folder(plain)} == {"on", "off", "up"}
    touch(plain / "up" / "ann" / "ben.Wave")
    with pytest.raises(KwsError, match=r"ben\.Wave is in a format"):
        read_folder(plain)
    shutil.rmtree(plain / "up" / "ann")
    made = touch(plain / "off" / "ben 1.M4A").with_suffix(".wav")
    with pytest.raises(KwsError, match=r"1\.M4A is in a format .* ffmpeg -i") as caught:
        read_folder(plain)
    touch(Path(shlex.split(str(caught.value))[-1]))  # what the advice makes
    assert made in [clip.path for clip in read_folder(plain)]


@pytest.mark.parametrize("name", ["on ", "on\u200f", "\u202a \u202c on \u202c", " \ufeffon"])
def test_a_word_has_nothing_unseen_around_it_and_nobody_has_no_name(plain: Path, name: str) -> None:
    touch(plain / name / "NA-1.wav")
    (one,) = [c for c in read_folder(plain, "eo", "^([A-Za-z]+)-") if c.path.name == "NA-1.wav"]
    assert (one.word, one.speaker) == ("on", None)


@pytest.mark.parametrize("name", ["\u200f", " \ufeffnoise", "\u200e_notes"])
def test_a_folder_without_a_word_is_none_whatever_is_around_it(plain: Path, name: str) -> None:
    touch(plain / name / "ann-1.wav")
    assert not [clip for clip in read_folder(plain) if clip.path.parent.name == name]


def test_who_has_a_split_in_some_rows_has_it_in_all_of_a_corpus(tmp_path: Path) -> None:
    """Also where those rows are not selected, or write the name in another way."""
    rows = [("a", "dog", "ad\u00e1", "train"), ("a", "cat", "ad\u00e1", "")]
    rows += [("b", "cat", "ad\u00e1", ""), ("a", "cat", "ada\u0301", "")]
    lines = ["path,language,corpus,word,speaker,split"]
    for number, (corpus, word, speaker, split) in enumerate(rows):
        touch(tmp_path / f"{number}.wav")
        lines.append(f"{number}.wav,en,{corpus},{word},{speaker},{split}")
    (tmp_path / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    found = read_manifest(tmp_path / "m.csv", {"word": ["cat"]})
    assert [clip.split for clip in found] == ["train", None, "train"]


def test_speakers_of_other_words_are_found_by_the_same_pattern_where_it_matches(
    tmp_path: Path,
) -> None:
    for name in ("s1_0.wav", "s2_0.wav"):
        touch(tmp_path / "more" / "dog" / name)
    for pattern, names in (("^(s[0-9])_", ["s1", "s2"]), ("^(x[0-9])_", [None, None])):
        others = read_others([], tmp_path, speaker_pattern=pattern, others=tmp_path / "more")
        assert [clip.speaker for clip in others] == names


def test_noise_and_hidden_folders_are_no_words_of_a_plain_folder(plain: Path) -> None:
    """But recordings of unknown words and of silence are read as such."""
    before = read_folder(plain)
    for name in (
        "Noise",
        "noise",
        "_background_noise_",
        "_old",
        ".cache",
        "_unknown_",
        "_silence_",
    ):
        touch(plain / name / "a.wav")
    added = [clip.word for clip in read_folder(plain) if clip not in before]
    assert added == ["_silence_", "_unknown_"]


@pytest.mark.parametrize("pattern", [r"^(\w+)-", r"-(\d)\.|(?P<speaker>ann|ben)"])
def test_a_pattern_says_who_speaks(plain: Path, pattern: str) -> None:
    speakers = {
        clip.path.name: clip.speaker for clip in read_folder(plain, speaker_pattern=pattern)
    }
    assert speakers["ann-1.wav"] == speakers["ann-3.ogg"] == "ann"
    assert speakers["ben-2.FLAC"] == "ben"
    assert speakers["x.mp3"] is None


@pytest.mark.parametrize(
    ("pattern", "match"),
    [(r"^\w+-", "no group"), (r"(carl)", "matches no file"), (r"(", "no regular expression")],
)
def test_a_pattern_that_cannot_work_is_refused(plain: Path, pattern: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read_folder(plain, speaker_pattern=pattern)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "on" / "notes.txt")
    with pytest.raises(KwsError, match="holds no recordings"):
        read_folder(tmp_path)
    with pytest.raises(KwsError, match="cannot be read"):
        read_folder(tmp_path / "absent")


# --- any corpus


def test_any_corpus_is_recognised(tmp_path: Path, speech_commands: Path, plain: Path) -> None:
    table = manifest(tmp_path / "table", *ROWS)
    assert read_corpus(table) == read_corpus(table.parent) == read_manifest(table)
    assert read_corpus(speech_commands) == read_speech_commands(speech_commands)
    spoken = mswc(tmp_path / "mswc", *MSWC_ROWS)
    assert read_corpus(spoken) == read_mswc(spoken)
    assert read_corpus(plain, language="eo") == read_folder(plain, "eo")
    assert len({clip.speaker for clip in read_corpus(plain, speaker_pattern=r"^(\w+)-")}) == 3


def test_a_language_can_be_said_of_speech_commands(speech_commands: Path) -> None:
    clips = read_corpus(speech_commands, language="en-GB")
    assert clips == [
        replace(clip, language="en-GB") for clip in read_speech_commands(speech_commands)
    ]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"word": ["yes"]}, 4),
        ({"split": ["validation", "test"]}, 3),
        ({"speaker": ["ann"], "word": ["no"]}, 2),
        ({"language": ["en"]}, 8),
    ],
)
def test_filters_work_on_folders(
    speech_commands: Path, filters: dict[str, list[str]], count: int
) -> None:
    assert len(read_corpus(speech_commands, filters)) == count


def test_files_whose_names_take_letters_apart_are_found(tmp_path: Path) -> None:
    """As macOS has them, and archives made there, where the manifest has them whole."""
    word, name = "три й", "Андрій_1.wav"
    apart = [unicodedata.normalize("NFD", text) for text in (word, name)]
    touch(tmp_path / apart[0] / apart[1])
    path = tmp_path / "manifest.csv"
    path.write_text(
        f"path,language,word,speaker,split\n{word}/{name},uk,{word},a,train\n", encoding="utf-8"
    )
    (clip,) = read_manifest(path)
    assert clip.path.is_file()
    path.write_text(
        f"path,language,word,speaker,split\n{word}/x.wav,uk,{word},a,train\n", encoding="utf-8"
    )
    with pytest.raises(KwsError, match=r"row 2 names .* does not exist"):
        read_manifest(path)


def test_blanks_in_a_file_name_make_no_other_person(tmp_path: Path) -> None:
    """Who would else be in training and in validation."""
    for name in ("Ada L _1.wav", "Ada  L_2.wav", "Ada\u00a0L_3.wav"):
        touch(tmp_path / "ja" / name)
    found = read_folder(tmp_path, speaker_pattern="^([^_]+)_")
    assert {clip.speaker for clip in found} == {"Ada L"}


def test_a_language_is_the_same_in_capitals(tmp_path: Path) -> None:
    """Where it is read, as where it is typed."""
    names = {f"{n}.wav": tag for n, tag in enumerate(("TR", "tr", "de", "pt-BR"))}
    for name in names:
        (tmp_path / name).touch()
    manifest = tmp_path / "manifest.csv"
    rows = "".join(f"{name},{tag},bir,ann,\n" for name, tag in names.items())
    manifest.write_text(f"path,language,word,speaker,split\n{rows}", encoding="utf-8")
    assert [clip.language for clip in read_manifest(manifest)] == ["tr", "tr", "de", "pt-BR"]
    for asked in ("tr", "TR"):
        assert len(read_manifest(manifest, {"language": [asked]})) == 2


def test_filters_know_a_column_by_its_name_in_capitals(tmp_path: Path) -> None:
    """As the file has it; unless there are two, which only capitals tell apart."""
    rows = [(2, {"word": "ja", "Level": "1", "level": "2", "": ""}), (3, {"word": "nein"})]
    alike = [(number, {"Level": "1", "level": "2", "": ""} | row) for number, row in rows]
    assert select(alike, {"WORD": ["ja"]}, "a.csv") == alike[:1]
    assert select(alike, {"level": ["2"]}, "a.csv") == alike
    assert select(alike, {"WORD": ["ja"], "word": ["nein"]}, "a.csv") == alike
    with pytest.raises(UsageError, match="no column 'LEVEL' to filter by; it has Level, level, wo"):
        select(alike, {"LEVEL": ["2"]}, "a.csv")


def test_filters_on_folders_are_checked(speech_commands: Path, plain: Path) -> None:
    with pytest.raises(UsageError, match="no column 'corpus'"):
        read_corpus(speech_commands, {"corpus": ["one"]})
    with pytest.raises(UsageError, match="word=maybe selects nothing"):
        read_corpus(speech_commands, {"word": ["maybe"]})
    assert len(read_corpus(plain, {"split": ["unsplit"]})) == 5


def test_an_argument_that_would_go_unheard_is_refused(
    tmp_path: Path, speech_commands: Path
) -> None:
    table = manifest(tmp_path, *ROWS)
    with pytest.raises(UsageError, match="says the language itself"):
        read_corpus(table, language="fr")
    for path in (table, speech_commands, mswc(tmp_path / "mswc", *MSWC_ROWS)):
        with pytest.raises(UsageError, match="says the speaker itself"):
            read_corpus(path, speaker_pattern="(.)")


def test_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="does not exist"):
        read_corpus(tmp_path / "absent")
    with pytest.raises(KwsError, match="does not exist"):
        read_corpus(tmp_path / "absent.csv")
    with pytest.raises(KwsError, match=r"neither a folder nor a \.csv"):
        read_corpus(touch(tmp_path / "file.txt"))
    with pytest.raises(KwsError, match="holds no corpus"):
        read_corpus(tmp_path)


def test_a_corpus_that_was_read_decodes(tmp_path: Path) -> None:
    (tmp_path / "on").mkdir()
    soundfile.write(tmp_path / "on" / "ann.wav", np.zeros(800, np.float32), 8_000)
    assert decode(read_corpus(tmp_path)[0].path).shape == (1_600,)


def test_the_real_manifest_reads_whole(shared_data: Path) -> None:
    clips = read_corpus(shared_data)
    assert len(clips) == 22_154
    counts = Counter(clip.split for clip in clips if clip.language == "cmn")
    assert counts == {"train": 2_448, "validation": 576, "test": 576}
    assert all(clip.licence and clip.speaker for clip in clips)


def test_other_words_keep_the_language_that_they_name(tmp_path: Path) -> None:
    """Where the recordings that were chosen name none."""
    rows = ["a/1.wav,,yes,ann,train,one", "a/2.wav,deu,ja,dan,train,two"]
    path = manifest(tmp_path, *rows)
    clips = read_corpus(path, {"word": ["yes"]}, "eng")
    others = read_others(clips, path, {"word": ["yes"]}, "eng")
    assert [(clip.word, clip.language) for clip in others] == [("ja", "deu")]


def test_a_column_that_comes_twice_is_named(tmp_path: Path) -> None:
    header = HEADER.replace("corpus", "word")
    with pytest.raises(KwsError) as caught:
        read_manifest(manifest(tmp_path, *ROWS, header=header))
    error(caught, "manifest.csv has two columns 'word'; delete or rename one of them")
    empty = manifest(tmp_path, *[f"{row},," for row in ROWS], header=f"{HEADER},,")
    assert len(read_manifest(empty)) == len(ROWS)  # as spreadsheets leave them


def test_rows_that_do_not_say_their_language_are_told_it_or_chosen_by_it(tmp_path: Path) -> None:
    path = manifest(tmp_path, *[row.replace(",eng,", ",,") for row in ROWS])
    assert {clip.language for clip in read_corpus(path)} == {"und", "spa"}
    assert {clip.language for clip in read_corpus(path, language="eng")} == {"eng", "spa"}
    told = read_corpus(path, {"language": ["und"]}, language="eng")
    assert [clip.language for clip in told] == ["eng"] * 3
    with pytest.raises(UsageError, match="says the language itself"):
        read_corpus(path, {"language": ["spa"]}, language="eng")


def test_a_file_whose_name_is_no_text_is_in_no_manifest(tmp_path: Path) -> None:
    """It could not be found again by what would be written."""
    odd = Clip(path=tmp_path / os.fsdecode(b"caf\xe9.wav"), word="ja", language="de")
    with pytest.raises(KwsError, match=r"caf\\udce9\.wav' cannot be written into a manifest"):
        write_manifest(tmp_path / "manifest.csv", [odd])
    assert not list(tmp_path.iterdir())


def test_rows_without_a_split_are_unsplit_to_filters_too(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    path = tmp_path / "manifest.csv"
    path.write_text("path,language,word,speaker,split\na.wav,de,ja,s1,\n", encoding="utf-8")
    (clip,) = read_manifest(path, {"split": ["unsplit"]})
    assert clip.split is None


def test_other_words_of_which_no_file_is_there_are_refused(tmp_path: Path) -> None:
    """Else nothing would be learnt to be no keyword."""
    path = tmp_path / "others.csv"
    path.write_text("path,language,word,speaker,split\nx/a.wav,de,ja,s1,\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"no recording that .*others\.csv names exists"):
        read_others([], tmp_path, others=path)
