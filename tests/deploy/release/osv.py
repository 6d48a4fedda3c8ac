"""A database of vulnerabilities that answers queries as the API of OSV does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from deploy.release.audit import KNOWN_VULNERABLE

DOCUMENTED: Final = {KNOWN_VULNERABLE: "PYSEC-2014-8"}


def _vulnerability(identifier: str, package: str) -> dict[str, Any]:
    fixed = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}
    return {
        "id": identifier,
        "aliases": [f"CVE-{identifier[-6:]}"],
        "summary": "Something.",
        "schema_version": "1.6.0",
        "affected": [{"package": {"name": package, "ecosystem": "PyPI"}, "ranges": [fixed]}],
    }


@contextmanager
def osv_server(
    vulnerable: Mapping[tuple[str, str], str], body: bytes | None = None
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Serve on the loopback address.

    Args:
        vulnerable: IDs of vulnerabilities by name and version.
        body: answers every query, if given; an empty one is never sent.

    Yields:
        The address, and the packages that were asked about.
    """
    asked: list[tuple[str, str]] = []
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = (query["package"]["name"], query["version"])
            asked.append(package)
            if body == b"":
                ended.wait()
                return
            found = vulnerable.get(package)
            answer = {"vulns": [_vulnerability(found, package[0])]} if found else {}
            content = body or json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
        finally:
            ended.set()
            server.shutdown()
            thread.join()
