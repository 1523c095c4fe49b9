"""A web server for tests of downloads: it stalls, cuts and lies, one answer a request."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DATA = bytes(range(256)) * 4_000  # 1 MB
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
        self.versions: list[str | None] = []  # the If-Range of each, where versions are told
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


def versioned(names: Mapping[str, str], sent: int | None = None) -> Answer:
    """A server that says which version of the file it has, and looks at the one that is asked for.

    Args:
        names: of the version, by header.
        sent: bytes of the answer; all, if None.

    """

    def answer(to: Handler, data: bytes) -> None:
        wanted = to.headers.get("If-Range")
        to.server.versions.append(wanted)
        start = to.start if wanted is None or wanted in names.values() else 0
        told = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        to.head(206 if start else 200, Content_Length=len(data) - start, **told, **names)
        to.wfile.write(data[start:][:sent])

    return answer


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
