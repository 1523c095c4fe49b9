"""Downloads survive servers that stall, cut and lie."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from web import (
    DATA,
    QUICK,
    Answer,
    Handler,
    Site,
    chunked,
    chunked_and_cut,
    cut,
    cut_at_once,
    honest,
    ignore_range,
    ignore_range_and_cut,
    kept_open,
    misplace,
    mute,
    of_unknown_length_and_cut,
    stall,
    status,
    unmeasured,
    versioned,
)

from audio_data.fetch import fetch
from kws.errors import KwsError, UsageError

SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "data.bin"


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_a_file_is_fetched_whole(site: Site, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    size = len(DATA)
    got = fetch(
        site.url,
        target,
        size=size,
        sha256=SHA256.upper(),
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


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"ETag": '"one"'}, '"one"'),
        ({"ETag": '"one"', "Last_Modified": "Sat, 28 Nov 2026 00:00:00 GMT"}, '"one"'),
        (
            {"ETag": 'W/"one"', "Last_Modified": "Sat, 28 Nov 2026 00:00:00 GMT"},
            "Sat, 28 Nov 2026 00:00:00 GMT",
        ),
        ({"ETag": 'W/"one"'}, None),
        ({}, None),
    ],
)
def test_the_same_version_is_gone_on_with(
    site: Site, target: Path, names: dict[str, str], told: str | None
) -> None:
    site.script = [versioned(names, 300_000), versioned(names)]
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == DATA
    assert site.asked == [None, "bytes=300000-"]
    assert site.versions == [None, told]
    assert [file.name for file in target.parent.iterdir()] == [target.name]


def test_of_another_version_nothing_is_kept(site: Site, target: Path) -> None:
    """The server replaced its file between two calls: no mixture of both comes."""
    site.script = [versioned({"ETag": '"one"'}, 300_000)] + [cut_at_once] * 3
    with pytest.raises(KwsError, match="gave up after 3 tries"):
        fetch(site.url, target, **QUICK)
    site.files["/data.bin"] = other = DATA[::-1]
    two = {"ETag": '"two"'}
    site.script = [versioned(two, 500_000), versioned(two)]
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == other
    assert site.versions == [None, '"one"', '"two"']
    assert site.asked[-2:] == ["bytes=300000-", "bytes=500000-"]


def test_progress_starts_where_the_part_ends(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(DATA[:1_000_000])
    seen: list[tuple[int, int | None]] = []
    fetch(site.url, target, progress=lambda *step: seen.append(step), **QUICK)
    assert seen[0][0] > 1_000_000
    assert {total for _, total in seen} == {len(DATA)}


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
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


def test_a_range_without_the_length_of_the_whole_is_not_taken_for_all(
    site: Site, target: Path
) -> None:
    def some(to: Handler, data: bytes) -> None:
        to.head(206, Content_Length=100, Content_Range="bytes 300000-300099/*")
        to.wfile.write(data[300_000:300_100])

    site.script = [cut, some]
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == DATA
    assert site.asked == [None, "bytes=300000-", "bytes=300100-"]


def test_a_range_of_another_version_is_not_put_behind_this_one(site: Site, target: Path) -> None:
    """As servers send that know no If-Range."""

    def other(to: Handler, data: bytes) -> None:
        rest = data[::-1][300_000:]
        whole = f"bytes 300000-{len(data) - 1}/{len(data)}"
        to.head(206, ETag='"two"', Content_Length=len(rest), Content_Range=whole)
        to.wfile.write(rest)

    site.script = [versioned({"ETag": '"one"'}, 300_000), other]
    fetch(site.url, target, **QUICK)
    assert target.read_bytes() == DATA
    assert site.asked == [None, "bytes=300000-", None]


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
        "http://127.0.0.1:abc/x",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1/a b",
        "http://a..b/x",
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
