"""Fetch one file from the web: resuming, patient with bad connections, and checked."""

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any, BinaryIO, Final, NoReturn
from urllib.parse import urlsplit

from kws.errors import KwsError, UsageError

Progress = Callable[[int, int | None], None]  # bytes done, bytes in all where known

BLOCK: Final = 1 << 18  # bytes
LONGEST_PAUSE: Final = 60.0  # s
UNSENT: Final = re.compile(r"[\x00-\x20\x7f]")  # what no address holds
PASSING: Final = (408, 429, 500, 502, 503, 504)  # answers that another try may change


class _BrokenError(Exception):
    """One try failed in a way that another may not."""


def fetch(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
    retries: int = 5,
    pause: float = 1.0,
) -> Path:
    """Copy ``url`` to ``target``, whole and checked or not at all.

    What has come is kept in ``<target>.part``, and beside it which version of the file it is of,
    where the server tells; the next call goes on from there, if the server still has that version.

    Args:
        url: http or https.
        target: the file to make; where it is already there it is only checked.
        size: bytes it must have.
        sha256: hexadecimal digest it must have.
        progress: called with the bytes that are there, and in all where known.
        timeout: seconds without a byte that count as a stall.
        retries: tries after the first that may bring nothing new in a row.
        pause: seconds before the second try; doubled after each further one.

    Raises:
        UsageError: not a web address.
        KwsError: the server refuses, the connection stays broken, the copy is not what was
            expected (it is removed then), or the disk is full.

    """
    if not _is_address(url):
        raise UsageError(
            f"{url!r} is no web address; it must start with http:// or https:// and be in ASCII, "
            "without spaces"
        )
    target = Path(target)
    if target.exists():
        _verify(target, size, sha256, "delete it and fetch it again")
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _receive_all(url, part, size, progress, timeout, retries, pause)
        try:
            _verify(part, size, sha256, f"{url} serves something else; the copy is removed")
        except KwsError:
            _discard(part)
            raise
        _beside(part).unlink(missing_ok=True)
        os.replace(part, target)
    except OSError as error:
        raise KwsError(
            f"cannot write {part} ({error.strerror}); make room and fetch again, it goes on"
            f" from {_length(part):,} bytes"
        ) from error
    return target


def _is_address(url: str) -> bool:
    """Whether a server can be asked for it."""
    if not url.isascii() or UNSENT.search(url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:  # such as brackets that hold no number, a port or a name that is none
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _receive_all(
    url: str,
    part: Path,
    size: int | None,
    progress: Progress | None,
    timeout: float,
    retries: int,
    pause: float,
) -> None:
    """Try until all has come; only tries that bring nothing new count as failures."""
    most, failures = _length(part), 0
    while True:
        try:
            _receive(url, part, size, progress, timeout)
            return
        except _BrokenError as error:
            failures = 0 if _length(part) > most else failures + 1
            most = max(most, _length(part))
            if failures > retries:
                raise KwsError(
                    f"{url}: {error}; gave up after {failures} tries, check the connection and "
                    f"fetch again to go on from {_length(part):,} bytes"
                ) from error
        sleep(min(pause * 2 ** max(0, failures - 1), LONGEST_PAUSE))


def _receive(
    url: str, part: Path, size: int | None, progress: Progress | None, timeout: float
) -> None:
    """Append to ``part`` what the server sends, or raise ``_BrokenError``."""
    start = _length(part)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"}
        if version := _version(part):
            headers |= {"If-Range": version}  # of another one all is sent (RFC 9110, 13.1.5)
    try:
        reply = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{start}":
                return  # it ends exactly where the part does
            _refused(url, part, error)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"no connection ({_why(error)})") from error
    with reply:
        start, total = _extent(reply, part, start)
        if size is not None and total is not None and total != size:
            _discard(part)
            raise KwsError(
                f"{url} is {total:,} bytes long, expected {size:,}, and is not kept; if --mirror "
                "was given, check it, else try again later"
            )
        if not start:
            _discard(part)
            _note_version(part, reply.headers)
        with part.open("ab" if start else "wb") as file:
            _copy(reply, file, start, total, progress)
    if start and total is None and size != _length(part):  # asked for more, it says if that is all
        raise _BrokenError("the server does not tell how long the file is")


def _refused(url: str, part: Path, error: urllib.error.HTTPError) -> NoReturn:
    """Raise what suits an HTTP error: another try, or none."""
    answer = f"the server answers {error.code} {error.reason}"
    if error.code == 416:  # the part is longer than the file, so it is of another one
        _discard(part)
        raise _BrokenError(answer)
    if error.code in PASSING:
        raise _BrokenError(answer)
    raise KwsError(f"{url}: {answer}; check the address")


def _extent(reply: Any, part: Path, start: int) -> tuple[int, int | None]:
    """Where the reply's bytes belong and how long the whole file is."""
    if reply.status != 206:
        length = reply.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", reply.headers.get("Content-Range", ""))
    if not told or int(told[1]) != start:
        _discard(part)  # from the start, next time
        raise _BrokenError("the server continues at another place than it was asked to")
    noted, told_now = _version(part), _told_version(reply.headers)
    if noted and told_now and noted != told_now:
        _discard(part)
        raise _BrokenError("the server continues with another version of the file")
    return start, int(told[3]) if told[3] != "*" else None


def _copy(
    reply: Any, file: BinaryIO, done: int, total: int | None, progress: Progress | None
) -> None:
    while total is None or done < total:
        try:
            block = reply.read1(BLOCK if total is None else min(BLOCK, total - done))
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(f"the connection broke at {done:,} bytes ({_why(error)})") from error
        if not block:
            break
        file.write(block)
        done += len(block)
        if progress:
            progress(done, total)
    file.flush()
    os.fsync(file.fileno())
    if total is not None and done < total:
        raise _BrokenError(f"the connection ended at {done:,} of {total:,} bytes")


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return "it stalled" if isinstance(reason, TimeoutError) else str(reason) or type(error).__name__


def _beside(part: Path) -> Path:
    """Where it is kept which version of the file a part is of."""
    return part.with_name(part.name + ".version")


def _version(part: Path) -> str:
    """What the server called the file when the part began; empty where it did not say."""
    found = _beside(part)
    return found.read_text(encoding="latin-1") if found.is_file() else ""


def _note_version(part: Path, headers: Any) -> None:
    """Keep what the server calls the file."""
    if version := _told_version(headers):
        _beside(part).write_text(version, encoding="latin-1")


def _told_version(headers: Any) -> str:
    """A tag, unless it is a weak one, or a date; empty where the server says neither."""
    tag = headers.get("ETag") or ""
    return (headers.get("Last-Modified") or "") if not tag or tag.startswith("W/") else tag


def _discard(part: Path) -> None:
    """Delete the part, and the note of its version."""
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _verify(path: Path, size: int | None, sha256: str | None, remedy: str) -> None:
    """Raise a KwsError where a file is not what was expected."""
    found = path.stat().st_size
    if size not in (None, found):
        raise KwsError(f"{path.name}: size is {found}, expected {size}; {remedy}")
    if sha256 is None:
        return
    with path.open("rb") as file:
        digest, wanted = hashlib.file_digest(file, "sha256").hexdigest(), sha256.lower()
    if digest != wanted:
        raise KwsError(f"{path.name}: sha256 is {digest}, expected {wanted}; {remedy}")
