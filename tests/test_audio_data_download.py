"""Downloads survive servers that stall, cut and lie; archives stay inside their folder."""

import errno
import gzip
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from audio_data.download import ARCHIVES, fetch, get_mswc, get_speech_commands, unpack
from audio_data.fetch import Progress
from kws.errors import KwsError, UsageError

DATA = bytes(range(256)) * 4_000  # 1 MB
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK: dict[str, Any] = {"timeout": 0.2, "retries": 2, "pause": 0.0}

Answer = Callable[["Handler", bytes], None]


class Site(ThreadingHTTPServer):
    """A server on 127.0.0.1 that first plays its script, one answer a request, then behaves."""

    daemon_threads = False  # joined at the end, so that no socket is left open

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/data.bin": DATA}
        self.script: list[Answer] = []
        self.asked: list[str | None] = []  # the Range of each request
        self.closing = threading.Event()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"{self.root}/data.bin"

    def handle_error(self, *_: Any) -> None:
        """A client that left early is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Range"))
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
        elif self.server.script:
            self.server.script.pop(0)(self, data)
        else:
            honest(self, data)

    def log_message(self, *_: Any) -> None: ...

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    @property
    def start(self) -> int:
        return int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))


def honest(to: Handler, data: bytes, sent: int | None = None) -> None:
    """Answer ranges as asked, or only the first ``sent`` bytes of what is asked for."""
    start = to.start
    if start >= len(data):
        to.head(416, Content_Range=f"bytes */{len(data)}", Content_Length=0)
        return
    length = len(data) - start
    if start:
        told = f"bytes {start}-{len(data) - 1}/{len(data)}"
        to.head(206, Content_Range=told, Content_Length=length)
    else:
        to.head(200, Content_Length=length)
    to.wfile.write(data[start:][:sent])


def cut(to: Handler, data: bytes) -> None:
    honest(to, data, sent=300_000)


def cut_at_once(to: Handler, data: bytes) -> None:
    honest(to, data, sent=0)


def stall(to: Handler, data: bytes) -> None:
    honest(to, data, sent=300_000)
    to.server.closing.wait(10)


def mute(to: Handler, data: bytes) -> None:
    to.server.closing.wait(10)


def ignore_range(to: Handler, data: bytes) -> None:
    to.head(200, Content_Length=len(data))
    to.wfile.write(data)


def ignore_range_and_cut(to: Handler, data: bytes) -> None:
    to.head(200, Content_Length=len(data))
    to.wfile.write(data[:300_000])


def of_unknown_length_and_cut(to: Handler, data: bytes) -> None:
    if not to.start:
        honest(to, data, sent=300_000)
        return
    told = f"bytes {to.start}-{len(data) - 1}/*"
    to.head(206, Content_Range=told, Content_Length=len(data) - to.start)
    to.wfile.write(data[to.start :][:1_000])


def misplace(to: Handler, data: bytes) -> None:
    to.head(206, Content_Range=f"bytes 5-{len(data) - 1}/{len(data)}", Content_Length=0)


def unmeasured(to: Handler, data: bytes) -> None:
    to.head(200)
    to.wfile.write(data)


def chunked(to: Handler, data: bytes) -> None:
    to.protocol_version = "HTTP/1.1"
    to.close_connection = True
    to.head(200, Transfer_Encoding="chunked")
    to.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))


def chunked_and_cut(to: Handler, data: bytes) -> None:
    to.protocol_version = "HTTP/1.1"
    to.close_connection = True
    to.head(200, Transfer_Encoding="chunked")
    to.wfile.write(b"%x\r\n%s" % (len(data), data[:300_000]))


def kept_open(to: Handler, data: bytes) -> None:
    """All is sent, but the server does not hang up."""
    honest(to, data)
    to.server.closing.wait(10)


def status(code: int) -> Answer:
    return lambda to, _: to.send_error(code)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "data.bin"


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


# Fetching


def test_a_file_is_fetched_whole(site: Site, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    size = len(DATA)
    got = fetch(
        site.url,
        target,
        size=size,
        sha256=SHA256.upper(),
        md5=hashlib.md5(DATA).hexdigest(),
        progress=lambda *step: seen.append(step),
        **QUICK,
    )
    assert got == target
    assert target.read_bytes() == DATA
    assert [path.name for path in target.parent.iterdir()] == ["data.bin"]
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("broken", [cut, stall])
def test_a_broken_connection_goes_on_where_it_broke(
    site: Site, target: Path, broken: Answer
) -> None:
    site.script = [broken, broken]
    fetch(site.url, target, sha256=SHA256, **QUICK)
    assert target.read_bytes() == DATA
    assert site.asked == [None, "bytes=300000-", "bytes=600000-"]


def test_the_next_call_goes_on_where_the_last_gave_up(site: Site, target: Path) -> None:
    site.script = [cut, status(503), status(503), status(503)]
    with pytest.raises(KwsError, match=r"503.*gave up after 3 tries.*go on from 300,000 bytes"):
        fetch(site.url, target, **QUICK)
    assert part_of(target).read_bytes() == DATA[:300_000]
    assert not target.exists()
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == DATA
    assert site.asked[-1] == "bytes=300000-"


def test_progress_starts_where_the_part_ends(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(DATA[:1_000_000])
    seen: list[tuple[int, int | None]] = []
    fetch(site.url, target, progress=lambda *step: seen.append(step), **QUICK)
    assert seen[0][0] > 1_000_000
    assert {total for _, total in seen} == {len(DATA)}


@pytest.mark.parametrize("code", [500, 502, 503, 429])
def test_a_passing_error_is_tried_again(site: Site, target: Path, code: int) -> None:
    site.script = [status(code), status(code)]
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == DATA


def test_many_cuts_are_survived_as_long_as_something_comes(site: Site, target: Path) -> None:
    site.script = [lambda to, data: honest(to, data, sent=100_000)] * 9
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("answer", [cut_at_once, mute, ignore_range_and_cut])
def test_a_server_that_brings_nothing_new_is_given_up(
    site: Site, target: Path, answer: Answer
) -> None:
    site.script = [answer] * 9
    with pytest.raises(KwsError, match="gave up after 3 tries"):
        fetch(site.url, target, **QUICK)
    assert len(site.asked) <= 4


def test_going_back_and_forth_is_no_progress(site: Site, target: Path) -> None:
    def back(to: Handler, data: bytes) -> None:
        to.head(200, Content_Length=len(data))
        to.wfile.write(data[: 300_000 if len(to.server.script) % 2 else 100_000])

    site.script = [back] * 8
    with pytest.raises(KwsError, match="gave up after 3 tries"):
        fetch(site.url, target, **QUICK)
    assert len(site.asked) == 4


def test_a_stall_is_called_so(site: Site, target: Path) -> None:
    site.script = [mute] * 9
    with pytest.raises(KwsError, match="it stalled"):
        fetch(site.url, target, **QUICK)


def test_pauses_double(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("audio_data.fetch.sleep", pauses.append)
    site.script = [status(503)] * 4
    fetch(site.url, target, timeout=0.2, retries=4, pause=0.5)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_server_that_ignores_ranges_starts_over(site: Site, target: Path) -> None:
    site.script = [cut, ignore_range]
    fetch(site.url, target, sha256=SHA256, **QUICK)
    assert site.asked == [None, "bytes=300000-"]


def test_a_server_that_continues_elsewhere_is_not_believed(site: Site, target: Path) -> None:
    site.script = [cut, misplace]
    fetch(site.url, target, sha256=SHA256, **QUICK)
    assert site.asked == [None, "bytes=300000-", None]


def test_a_rest_of_unknown_length_that_is_cut_goes_on(site: Site, target: Path) -> None:
    """What a reply says of itself counts where the whole is not told."""
    site.script = [of_unknown_length_and_cut] * 3
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == DATA
    assert site.asked == [None, "bytes=300000-", "bytes=301000-", "bytes=302000-"]


@pytest.mark.parametrize("answer", [unmeasured, chunked, kept_open])
def test_unusual_but_right_answers(site: Site, target: Path, answer: Answer) -> None:
    site.script = [answer]
    fetch(site.url, target, sha256=SHA256, **QUICK)
    assert len(site.asked) == 1


def test_a_cut_without_a_known_length_is_noticed(site: Site, target: Path) -> None:
    site.script = [chunked_and_cut]
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == DATA
    assert len(site.asked) == 2


def test_a_complete_part_needs_no_more_bytes(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(DATA)
    fetch(site.url, target, sha256=SHA256, **QUICK)
    assert site.asked == [f"bytes={len(DATA)}-"]


def test_a_part_longer_than_the_file_starts_over(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(DATA + b"more")
    fetch(site.url, target, sha256=SHA256, **QUICK)
    assert target.read_bytes() == DATA


def test_a_missing_file_is_not_asked_for_twice(site: Site, target: Path) -> None:
    with pytest.raises(KwsError, match="404 Not Found; check the address"):
        fetch(f"{site.root}/none", target, **QUICK)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"sha256": "0" * 64}, SHA256),
        ({"md5": "0" * 32}, hashlib.md5(DATA).hexdigest()),
        ({"size": 999}, "1,024,000"),
    ],
)
def test_a_wrong_file_is_removed_and_both_values_named(
    site: Site, target: Path, wanted: Any, found: str
) -> None:
    with pytest.raises(KwsError, match=found) as caught:
        fetch(site.url, target, **wanted, **QUICK)
    assert str(next(iter(wanted.values()))) in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_a_length_that_is_never_sent_is_noticed(site: Site, target: Path) -> None:
    def lie(to: Handler, data: bytes) -> None:
        to.head(200, Content_Length=len(data) + 7)
        to.wfile.write(data)

    site.script = [lie] * 9
    with pytest.raises(KwsError, match=r"ended at 1,024,000 of 1,024,007 bytes"):
        fetch(site.url, target, **QUICK)
    assert not target.exists()


def test_a_length_that_is_too_short_fails_the_check(site: Site, target: Path) -> None:
    def lie(to: Handler, data: bytes) -> None:
        to.head(200, Content_Length=10)
        to.wfile.write(data)

    site.script = [lie]
    with pytest.raises(KwsError, match="sha256 is"):
        fetch(site.url, target, sha256=SHA256, **QUICK)
    assert list(target.parent.iterdir()) == []


def test_a_short_file_without_a_length_fails_the_check(site: Site, target: Path) -> None:
    site.script = [lambda to, data: unmeasured(to, data[:10])]
    with pytest.raises(KwsError, match="size is 10, expected 1024000"):
        fetch(site.url, target, size=len(DATA), **QUICK)


def test_what_is_there_is_checked_not_fetched(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(DATA)
    fetch(site.url, target, sha256=SHA256, **QUICK)
    with pytest.raises(KwsError, match="delete it"):
        fetch(site.url, target, sha256="0" * 64, **QUICK)
    assert target.read_bytes() == DATA
    assert site.asked == []


def test_nobody_listens(site: Site, target: Path) -> None:
    site.server_close()  # its port is free now
    with pytest.raises(KwsError, match=r"no connection.*gave up after 3 tries"):
        fetch(site.url, target, **QUICK)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x",
        "file:///etc/hostname",
        "data.bin",
        "http://[bad",
        "http://x/ü",
        "http://",
    ],
)
def test_only_web_addresses(target: Path, url: str) -> None:
    with pytest.raises(UsageError, match="no web address"):
        fetch(url, target)


def test_a_full_disk_keeps_the_part(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    site.script = [cut]
    with pytest.raises(KwsError, match=r"No space left on device.*goes on from 300,000 bytes"):
        fetch(site.url, target, **QUICK)
    assert part_of(target).read_bytes() == DATA[:300_000]
    monkeypatch.undo()
    fetch(site.url, target, sha256=SHA256, **QUICK)
    assert site.asked == [None, "bytes=300000-"]


# Unpacking


def packed(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return path


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def device(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    files = {"./a/1.wav": b"one", "a/ü 2.wav": b"two", "top.txt": b""}
    archive = packed(tmp_path / "x.tar.gz", files, link("a/hard", "a/ü 2.wav", tarfile.LNKTYPE))
    folder = unpack(archive, tmp_path / "deep" / "out", progress=lambda *step: seen.append(step))
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == {"a/1.wav": b"one", "a/ü 2.wav": b"two", "top.txt": b"", "a/hard": b"two"}
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert len(seen) == 4
    assert seen[-1][1] == archive.stat().st_size


@pytest.mark.parametrize(
    ("files", "extra"),
    [
        ({"../evil": b"x"}, []),
        ({"good/../../evil": b"x"}, []),
        ({"/tmp/evil": b"x"}, []),
        ({"..\\evil": b"x"}, []),
        ({}, [link("out", "../..")]),
        ({}, [link("out", "/tmp")]),
        ({}, [link("a/out", "../../evil")]),
        ({}, [link("hard", "../evil", tarfile.LNKTYPE)]),
        ({}, [link("hard", "is not there", tarfile.LNKTYPE)]),
        ({}, [link("hard", "/etc/passwd", tarfile.LNKTYPE)]),
        ({}, [device("dev", tarfile.CHRTYPE)]),
        ({}, [device("dev", tarfile.BLKTYPE)]),
        ({}, [device("pipe", tarfile.FIFOTYPE)]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_member_that_escapes_is_refused(
    tmp_path: Path, files: dict[str, bytes], extra: list[tarfile.TarInfo]
) -> None:
    (tmp_path / "evil").write_bytes(b"mine")
    archive = packed(tmp_path / "x.tar.gz", {"good.txt": b"fine"} | files, *extra)
    with pytest.raises(
        KwsError, match=r"x\.tar\.gz is refused: .*(out of the folder|a device|not found)"
    ):
        unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil", "x.tar.gz"]
    assert (tmp_path / "evil").read_bytes() == b"mine"


def test_permissions_of_an_archive_are_tamed(tmp_path: Path) -> None:
    info = tarfile.TarInfo("tool")
    info.mode = 0o6777
    folder = unpack(packed(tmp_path / "x.tar.gz", {}, info), tmp_path / "out")
    assert (folder / "tool").stat().st_mode & 0o7777 == 0o755


def test_a_link_inside_stays(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.tar.gz", {"a.txt": b"text"}, link("b.txt", "a.txt"))
    assert (unpack(archive, tmp_path / "out") / "b.txt").read_bytes() == b"text"


def test_a_file_written_through_a_link_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(link("way", "../outside"))
        info = tarfile.TarInfo("way/evil")
        tar.addfile(info)
    (tmp_path / "outside").mkdir()
    with pytest.raises(KwsError, match="refused"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "outside").iterdir()) == []


def damaged(kind: str, data: bytes) -> bytes:
    return {
        "truncated": data[: len(data) // 2],
        "shorn": data[:-4],
        "flipped": data[:5_000] + bytes([data[5_000] ^ 255]) + data[5_001:],
        "page": b"<html>Sign in to this network</html>",
        "empty": b"",
        "no tar": gzip.compress(os.urandom(9_000)),
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "shorn", "flipped", "page", "empty", "no tar"])
def test_a_damaged_archive_leaves_nothing(tmp_path: Path, kind: str) -> None:
    archive = packed(tmp_path / "x.tar.gz", {"a": os.urandom(20_000), "b": os.urandom(100)})
    archive.write_bytes(damaged(kind, archive.read_bytes()))
    with pytest.raises(KwsError, match=r"damaged or no \.tar\.gz"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=r"none\.tar\.gz.*No such file"):
        unpack(tmp_path / "none.tar.gz", tmp_path / "out")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.tar.gz", {"a": b"new"})
    (tmp_path / "out").mkdir()
    unpack(archive, tmp_path / "out")  # empty is fine
    with pytest.raises(UsageError, match="already holds"):
        unpack(archive, tmp_path / "out")


# Corpora


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
    with pytest.raises(KwsError, match="holds no clips"):
        get_mswc(tmp_path, "de", base_url=site.root, **QUICK)
    assert not (tmp_path / "de").exists()


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
