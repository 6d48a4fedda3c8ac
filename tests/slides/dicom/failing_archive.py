"""A DICOMweb server that fails as no real one can be made to, one instance behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WHOLE_SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
BOUNDARY = "frontier"

Answer = Callable[[BaseHTTPRequestHandler], None]


def found(kind: str | None = "VOLUME", instance: str = "1.2.5") -> dict[str, Any]:
    """One instance, as a search returns it."""
    attributes: dict[str, Any] = {
        "00080016": {"vr": "UI", "Value": [WHOLE_SLIDE_IMAGE]},
        "00080018": {"vr": "UI", "Value": [instance]},
    }
    if kind is not None:
        attributes["00080008"] = {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", kind, "NONE"]}
    return attributes


def answer_json(content: Any, status: int = 200) -> Answer:
    """An answer of a search."""
    return answer(json.dumps(content).encode(), "application/dicom+json", status)


def answer(body: bytes, media_type: str, status: int = 200, n_announced: int = 0) -> Answer:
    """A whole answer, or one that breaks off before `n_announced` bytes."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", media_type)
        handler.send_header("Content-Length", str(n_announced or len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


def multipart(file: bytes, has_end: bool = True) -> bytes:
    """A body with one part."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return head + file + (f"\r\n--{BOUNDARY}--\r\n".encode() if has_end else b"")


def answer_multipart(file: bytes, has_end: bool = True) -> Answer:
    """An answer for one instance."""
    media_type = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return answer(multipart(file, has_end), media_type)


@contextmanager
def archive(search: Answer, instance: Answer, metadata: Answer | None = None) -> Iterator[str]:
    """Run a server; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.endswith("/metadata"):
                (metadata or answer(b"", "text/plain", 404))(self)
            elif path.endswith("/instances"):
                search(self)
            else:
                instance(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
