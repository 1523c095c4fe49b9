"""Public corpora are fetched, unpacked and laid out."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import packed
from web import QUICK, Site, cut_at_once, honest

from audio_data.download import ARCHIVES, get_mswc, get_speech_commands
from audio_data.fetch import Progress
from kws.errors import KwsError, UsageError


def archive_bytes(tmp_path: Path, files: dict[str, bytes]) -> bytes:
    return packed(tmp_path / "made.tar.gz", files).read_bytes()


@pytest.fixture
def unpinned(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ARCHIVES["speech-commands"]
    monkeypatch.setitem(ARCHIVES, "speech-commands", replace(whole, size=None, sha256=None))


def test_speech_commands_are_laid_out(site: Site, tmp_path: Path, unpinned: None) -> None:
    files = {"./testing_list.txt": b"yes/a_nohash_0.wav\n", "./yes/a_nohash_0.wav": b"RIFF"}
    site.files["/speech_commands_v0.02.tar.gz"] = archive_bytes(tmp_path, files)
    site.script = [cut_at_once]
    told: list[str] = []

    def watch(what: str) -> Progress:
        told.append(what)
        return lambda done, total: None

    out = tmp_path / "data" / "speech"
    assert get_speech_commands(out, base_url=site.root, watch=watch, **QUICK) == out
    assert (out / "yes" / "a_nohash_0.wav").read_bytes() == b"RIFF"
    assert [path.name for path in out.parent.iterdir()] == ["speech"]
    assert told == [f"fetching {site.root}/speech_commands_v0.02.tar.gz", "unpacking speech.tar.gz"]
    asked = len(site.asked)
    get_speech_commands(out, base_url=site.root, **QUICK)
    assert len(site.asked) == asked  # it is there already


def test_an_archive_beside_a_corpus_that_is_there_stays(tmp_path: Path) -> None:
    """It may be somebody's who unpacked it by hand."""
    archives = [tmp_path / name for name in ("sc.tar.gz", "de-audio.tar.gz", "de-splits.tar.gz")]
    for path in archives:
        path.write_bytes(b"mine")
    (tmp_path / "sc").mkdir()
    (tmp_path / "sc" / "testing_list.txt").touch()
    (tmp_path / "de" / "clips").mkdir(parents=True)
    (tmp_path / "de" / "de_splits.csv").touch()
    get_speech_commands(tmp_path / "sc")
    get_mswc(tmp_path, "de")
    assert all(path.exists() for path in archives)


def test_a_folder_may_be_a_link_to_a_larger_disk(
    site: Site, tmp_path: Path, unpinned: None
) -> None:
    site.files["/speech_commands_v0.02.tar.gz"] = archive_bytes(tmp_path, {"testing_list.txt": b""})
    (tmp_path / "large").mkdir()
    (tmp_path / "speech").symlink_to(tmp_path / "large")
    get_speech_commands(tmp_path / "speech", base_url=site.root, **QUICK)
    assert (tmp_path / "speech").is_symlink()
    assert (tmp_path / "large" / "testing_list.txt").exists()


def test_speech_commands_from_anywhere_are_checked(site: Site, tmp_path: Path) -> None:
    site.files["/speech_commands_v0.02.tar.gz"] = archive_bytes(tmp_path, {"testing_list.txt": b""})
    with pytest.raises(KwsError, match="expected 2,428,923,189"):
        get_speech_commands(tmp_path / "out", base_url=site.root, **QUICK)
    assert not (tmp_path / "out").exists()


def test_a_taken_folder_is_refused_before_fetching(site: Site, tmp_path: Path) -> None:
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="already holds"):
        get_speech_commands(tmp_path / "de", base_url=site.root, **QUICK)
    with pytest.raises(UsageError, match="already holds"):
        get_mswc(tmp_path, "de", base_url=site.root, **QUICK)
    assert site.asked == []


@pytest.mark.parametrize("audio", ["", "de/", "de/audio/"])
@pytest.mark.parametrize("splits", ["", "./", "de/", "de/splits/"])
def test_mswc_is_laid_out_from_either_form(
    site: Site, tmp_path: Path, audio: str, splits: str
) -> None:
    clips = {f"{audio}clips/ja/common_1.opus": b"OggS", f"{audio}clips/nein/common_2.opus": b"OggS"}
    tables = {f"{splits}de_{name}.csv": b"SET\n" for name in ("splits", "train", "dev", "test")}
    site.files["/audio/de.tar.gz"] = archive_bytes(tmp_path, clips)
    site.files["/splits/de.tar.gz"] = archive_bytes(tmp_path, tables)
    out = tmp_path / "mswc"
    assert get_mswc(out, "de", base_url=f"{site.root}", **QUICK) == out / "de"
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {
        "de/clips/ja/common_1.opus",
        "de/clips/nein/common_2.opus",
        *(f"de/de_{name}.csv" for name in ("splits", "train", "dev", "test")),
    }
    assert [path.name for path in out.iterdir()] == ["de"]
    get_mswc(out, "de", base_url=site.root, **QUICK)
    assert len(site.asked) == 2  # it is there already


def test_mswc_goes_on_after_an_interruption(site: Site, tmp_path: Path) -> None:
    site.files["/audio/de.tar.gz"] = archive_bytes(tmp_path, {"clips/ja/1.opus": os.urandom(9_000)})
    site.files["/splits/de.tar.gz"] = archive_bytes(tmp_path, {"de_splits.csv": b"SET\n"})
    site.script = [honest, *[lambda to, data: honest(to, data, sent=5_000)], *[cut_at_once] * 9]
    with pytest.raises(KwsError, match="gave up"):
        get_mswc(tmp_path / "mswc", "de", base_url=site.root, **QUICK)
    assert not (tmp_path / "mswc" / "de").exists()
    site.script = []
    site.asked.clear()
    folder = get_mswc(tmp_path / "mswc", "de", base_url=site.root, **QUICK)
    assert site.asked == ["bytes=5000-"]
    assert (folder / "clips" / "ja" / "1.opus").stat().st_size == 9_000


def test_an_archive_of_something_else_is_named(site: Site, tmp_path: Path) -> None:
    site.files["/audio/de.tar.gz"] = archive_bytes(tmp_path, {"photos/1.jpg": b""})
    site.files["/splits/de.tar.gz"] = archive_bytes(tmp_path, {"de_splits.csv": b"SET\n"})
    with pytest.raises(KwsError, match=r"holds no clips.* was deleted; run this again"):
        get_mswc(tmp_path, "de", base_url=site.root, **QUICK)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".de", "de/"))]
    site.files["/audio/de.tar.gz"] = archive_bytes(tmp_path, {"clips/ja/1.opus": b"OggS"})
    folder = get_mswc(tmp_path, "de", base_url=site.root, **QUICK)
    assert (folder / "clips" / "ja" / "1.opus").is_file()


def test_the_table_is_looked_for_before_the_large_archive_is_fetched(
    site: Site, tmp_path: Path
) -> None:
    site.files["/splits/de.tar.gz"] = archive_bytes(tmp_path, {"fr_splits.csv": b"SET\n"})
    with pytest.raises(KwsError, match=r"holds no de_splits\.csv"):
        get_mswc(tmp_path, "de", base_url=site.root, **QUICK)
    assert len(site.asked) == 1


@pytest.mark.parametrize("language", ["", "../x", "de/..", "german", "DE"])
def test_an_odd_language_is_refused(tmp_path: Path, language: str) -> None:
    with pytest.raises(UsageError, match="no language of the corpus"):
        get_mswc(tmp_path, language, base_url="http://127.0.0.1:9")


def test_a_language_the_corpus_lacks(site: Site, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=r"splits/xx\.tar\.gz.*404"):
        get_mswc(tmp_path, "xx", base_url=site.root, **QUICK)


def test_the_public_addresses() -> None:
    urls = [f"{archive.base_url}/{archive.path}" for archive in ARCHIVES.values()]
    assert urls == [
        "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        "https://mswc.mlcommons-storage.org/audio/{language}.tar.gz",
        "https://mswc.mlcommons-storage.org/splits/{language}.tar.gz",
    ]
