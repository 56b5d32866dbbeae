"""A web server on loopback that serves files, counts what it sends, and fails as real ones do."""

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1 << 14


@dataclass
class Served:
    """One path: what is there and how it fails. ``faults`` is how many requests fail before it goes well."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    says_length: bool = True
    status: int = 200
    location: str | None = None
    faults: int = 0
    cut_at: int | None = None
    stall_at: int | None = None
    pause_s: float = 0.0
    sent: int = 0
    requests: list = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        served = self.server.files.get(self.path)
        if served is None:
            return self.send_error(404)
        served.requests.append(self.headers.get("Range"))
        failing, served.faults = served.faults > 0, served.faults - 1
        if served.location is not None or (served.status != 200 and failing):
            return self._answer_without_content(served)
        start, status = self._start(served)
        self.send_response(status)
        if served.etag:
            self.send_header("ETag", served.etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
        if served.says_length:
            self.send_header("Content-Length", str(len(served.content) - start))
        self.end_headers()
        self._send(served, start, failing)

    def _answer_without_content(self, served):
        self.send_response(302 if served.location is not None else served.status)
        if served.location is not None:
            self.send_header("Location", served.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _start(self, served):
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if wanted and served.ranges and condition in (None, served.etag):
            return int(wanted[1]), 206
        return 0, 200

    def _send(self, served, start, failing):
        place, end = start, len(served.content)
        stop = min(at for at in (served.cut_at, served.stall_at, end) if at is not None) if failing else end
        while place < stop:
            block = served.content[place : min(place + BLOCK, stop)]
            self.wfile.write(block)
            place += len(block)
            served.sent += len(block)
            time.sleep(served.pause_s)
        if failing and served.stall_at is not None:
            self.server.closing.wait(20)

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    """Silent about clients that go away."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.closing = {}, threading.Event()

    def handle_error(self, request, client_address):
        pass

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def add(self, path, content=b"", **how):
        """Serve ``content`` at ``path``; returns its record."""
        self.files[path] = Served(content, **how)
        return self.files[path]


@contextmanager
def running():
    """A server in a thread, gone afterwards."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
