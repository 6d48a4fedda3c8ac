"""A mirror of a collection that misbehaves on demand: a real server on a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"


class Mirror:
    """Serves `files`; `faults[path]` is a queue with one fault a request, and `""` is no fault."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        self.faults: defaultdict[str, list[str]] = defaultdict(list)
        self.requests: list[tuple[str, int]] = []
        """Path and status of each answer."""
        self.half_sent, self.resume = threading.Event(), threading.Event()
        self.url = ""

    def publish_hashes(self) -> None:
        lines = [f"{sha256(content).hexdigest()}  ./{path}" for path, content in self.files.items()]
        self.files["SHA256SUMS"] = "\n".join(lines).encode()

    def listing(self, folder: str) -> bytes | None:
        """A listing like that of `python -m http.server`: relative links, folders end with `/`."""
        below = [path[len(folder) :] for path in self.files if path.startswith(folder)]
        names = sorted({name.partition("/")[0] + "/" * ("/" in name) for name in below})
        links = "".join(f'<li><a href="{name}">{name}</a></li>' for name in ["../", *names])
        return f"<!DOCTYPE HTML><html><ul>{links}</ul></html>".encode() if below else None

    def statuses(self, path: str) -> list[int]:
        return [status for asked, status in self.requests if asked == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        mirror, path = self.mirror, unquote(self.path.lstrip("/"))
        content = mirror.files.get(path)
        if content is None and (path == "" or path.endswith("/")):
            content = mirror.listing(path)
        queue = mirror.faults[path] or mirror.faults["*"]
        fault = queue.pop(0) if queue else ""
        if fault == "gone":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if fault.isdecimal():
            self._answer(int(fault), {"Retry-After": "0"}, b"no")
        elif content is None:
            self._answer(404, {}, b"no")
        else:
            self._answer_with(fault, content)

    def _answer_with(self, fault: str, content: bytes) -> None:
        body = content
        if fault == "corrupt":
            middle = len(body) // 2
            body = body[:middle] + bytes(255 - value for value in body[middle:])
        if fault == "page":
            body = PAGE
        if fault == "short":  # a false length, so the rest of the body is never read
            self.close_connection = True
            self._answer(200, {}, body, len(body) // 2)
            return
        if fault in ("drop", "long", "stall"):
            self.close_connection = True
            half = body[: len(body) // 2]
            self._answer(200, {}, half, len(body))
            self.wfile.flush()
            if fault == "stall":
                self.mirror.half_sent.set()
                self.mirror.resume.wait(300)
            return
        self._answer(200, {}, body)

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, length: int | None = None
    ) -> None:
        path = unquote(self.path.lstrip("/"))
        self.mirror.requests.append((path, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # in some tests the client hangs up


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Mirror]:
    """Serve a folder on a free port of this machine while the block runs."""
    mirror = Mirror(folder)
    handler = type("Handler", (_Handler,), {"mirror": mirror})
    server = _Server(("127.0.0.1", 0), handler)
    mirror.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield mirror
    finally:
        mirror.resume.set()
        server.shutdown()
        server.server_close()
        thread.join()
