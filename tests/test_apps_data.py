"""``kws data``: parses, delegates, and prints where the result lies."""

import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from apps.data import data
from audio_data.corpus import read_corpus
from audio_data.synthesis import DEFAULT_WORDS
from kws.errors import KwsError, UsageError


@pytest.fixture(autouse=True)
def _short_noises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audio_data.synthesis.NOISE_SECONDS", 0.2)


def call(*words: object) -> Result:
    return CliRunner().invoke(data, [str(word) for word in words], catch_exceptions=True)


def spoken(manifest: str) -> dict[str, set[str]]:
    said: dict[str, set[str]] = {}
    for clip in read_corpus(Path(manifest.strip())):
        said.setdefault(clip.language, set()).add(clip.word)
    return said


FEW = ("--speakers", 3, "--takes", 1)


def test_make_speaks_what_is_asked(tmp_path: Path) -> None:
    done = call("make", "--language", "de", "--words", "ja, nein", "--out", tmp_path, *FEW)
    assert done.exit_code == 0
    assert spoken(done.output) == {"de": {"ja", "nein"}}
    assert done.output == f"{tmp_path / 'manifest.csv'}\n"


def test_make_takes_several_languages(tmp_path: Path) -> None:
    lists = ("--language", "deu", "--words", "ja", "--language", "cmn", "--words", "停\uff0c走")
    done = call("make", *lists, "--out", tmp_path, *FEW)
    assert spoken(done.output) == {"deu": {"ja"}, "cmn": {"停", "走"}}


def test_a_word_is_said_as_it_is_spelt_for_that(tmp_path: Path) -> None:
    """The other word is not touched, and the folder goes on only with the same spelling."""
    asked = ("make", "--language", "de", "--words", "ok,ja", *FEW)
    folders = tmp_path / "plain", tmp_path / "respelt"
    done = call(*asked, "--out", folders[0])
    assert done.exit_code == 0
    respelt = (*asked, "--spell", "ok = o kee ", "--out", folders[1])
    done = call(*respelt)
    assert spoken(done.output) == {"de": {"ok", "ja"}}
    plain, other = (
        [path.read_bytes() for path in sorted((folder / "de").rglob("*.wav"))] for folder in folders
    )
    same = [one == another for one, another in zip(plain, other, strict=True)]
    assert same == [True, True, True, False, False, False]  # ja, ok
    assert call(*respelt).exit_code == 0
    assert "other settings" in str(call(*asked, "--out", folders[1]).exception)


def test_make_knows_words_for_a_demonstration(tmp_path: Path) -> None:
    done = call("make", "--language", "ar", "--out", tmp_path, *FEW)
    assert spoken(done.output) == {"ar": set(DEFAULT_WORDS["ar"])}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--words", "ja"], "1 --words and 0 different"),
        (["--language", "de", "--language", "en", "--words", "ja"], "1 --words and 2"),
        (["--language", "de", "--words", "a", "--language", "de", "--words", "b"], "and 1"),
        (["--language", "ru"], "no demonstration words for 'ru', only for en, de"),
        (["--language", "qqq", "--words", "a"], "no voice for 'qqq'"),
        (["--language", "de", "--words", " , "], "give one word or more"),
        (["--language", "de", "--words", "_unknown_"], "_unknown_ is a class, not a word"),
        (["--language", "de", "--words", "ja,ne\u200bin"], r"'ne\u200bin' has invisible"),
        (["--language", "de", "--words", "ja\udcff"], r"'ja\udcff' has invisible characters"),
        (["--language", "en", "--words", "go,two,too"], "eSpeak NG says 'two' and 'too' alike"),
        (["--language", "de", "--speakers", "1"], "1 speakers cannot fill"),
        (["--language", "de", "--spell", "wer=we are"], "'wer' is respelt, but is none of the"),
    ],
)
def test_what_cannot_be_made_is_wrong_use(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = call("make", *arguments, "--out", tmp_path / "out")
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """An address that serves a tiny corpus of Tatar."""
    for name, file in (
        ("audio", "tt/clips/әйе/common_voice_tt_1.opus"),
        ("splits", "tt_splits.csv"),
    ):
        archive = tmp_path / "mirror" / name / "tt.tar.gz"
        archive.parent.mkdir(parents=True)
        body = b"SET,LINK,WORD,VALID,SPEAKER,GENDER\n" + (
            "TRAIN,әйе/common_voice_tt_1.opus,әйе,True,a,FEMALE\n".encode()
        )
        with tarfile.open(archive, "w:gz") as tar:
            info = tarfile.TarInfo(file)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "mirror"))

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_get_mswc_leaves_a_readable_corpus(tmp_path: Path, mirror: str) -> None:
    done = call("get", "mswc", "--language", "tt", "--out", tmp_path / "mswc", "--mirror", mirror)
    assert done.exit_code == 0
    assert done.output == f"{tmp_path / 'mswc' / 'tt'}\n"
    (clip,) = read_corpus(Path(done.output.strip()))
    assert (clip.word, clip.language, clip.split) == ("әйе", "tt", "train")
    assert clip.path.is_file()


def test_get_needs_no_folder_to_be_named(
    tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each corpus has one of its own, which the help names; what is there is not fetched again."""
    monkeypatch.chdir(tmp_path)
    done = call("get", "mswc", "--language", "tt", "--mirror", mirror)
    assert done.output == "data/mswc/tt\n"
    (tmp_path / "data" / "speech-commands").mkdir()
    (tmp_path / "data" / "speech-commands" / "testing_list.txt").touch()
    assert call("get", "speech-commands").output == "data/speech-commands\n"
    refused = call("get", "speech-commands", "--out", ".").exception
    assert "the corpus becomes a folder of its own: name one, as words" in str(refused)
    assert "[default: data/speech-commands]" in call("get", "speech-commands", "--help").output
    assert "[default: data/mswc]" in call("get", "mswc", "--help").output


def test_get_says_what_is_not_there(tmp_path: Path, mirror: str) -> None:
    done = call("get", "speech-commands", "--out", tmp_path / "gsc", "--mirror", mirror)
    assert isinstance(done.exception, KwsError)
    assert "speech_commands_v0.02.tar.gz: the server answers 404" in str(done.exception)
