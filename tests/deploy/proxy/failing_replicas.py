"""Replicas that answer no request, and note what an ingress sends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

RETRY_AFTER_S: Final = 7


class FailingReplica(BaseHTTPRequestHandler):
    """Says that it is ready, and answers every other request with 503, or closes the connection."""

    protocol_version = "HTTP/1.1"
    is_silent = False
    delay_s = 0.0
    seen: list[tuple[str, str]]
    """Path and `X-Forwarded-For` of the other requests."""

    def do_GET(self) -> None:
        is_check = self.path == "/readyz"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not is_check:
            self.seen.append((self.path, self.headers.get("X-Forwarded-For", "")))
            time.sleep(self.delay_s)
            if self.is_silent:
                self.close_connection = True
                return
        self.send_response(200 if is_check else 503)
        self.send_header("Content-Length", "0")
        self.send_header("X-Request-ID", "of-the-replica")
        self.send_header("Retry-After", str(RETRY_AFTER_S))
        self.end_headers()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names of `http.server`

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def failing_replicas(
    *, is_silent: bool = False, delay_s: float = 0.0
) -> Iterator[tuple[list[tuple[str, int]], list[tuple[str, str]]]]:
    """Run two; yields their addresses and what both of them saw."""
    seen: list[tuple[str, str]] = []
    members = {"is_silent": is_silent, "delay_s": delay_s, "seen": seen}
    handler = type("Handler", (FailingReplica,), members)
    with ExitStack() as running:
        addresses = []
        for _ in range(2):
            server = running.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, args=(0.01,)).start()
            running.callback(server.shutdown)
            addresses.append(("127.0.0.1", int(server.server_address[1])))
        yield addresses, seen
