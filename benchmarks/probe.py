"""Single HTTP requests from Python, to check readiness, answers and latency under load."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.bodies import Body


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, seconds until the whole reply was read, and its JSON; None if it is not JSON."""

    status: int
    seconds: float
    content: Any


def get(port: int, path: str, timeout_s: float = 5.0) -> Reply:
    """GET from 127.0.0.1. Raises OSError or `http.client.HTTPException` without a reply."""
    return _exchange(port, "GET", path, None, timeout_s)


def post(port: int, path: str, body: Body, timeout_s: float = 60.0) -> Reply:
    """POST a body. Raises like `get`."""
    return _exchange(port, "POST", path, body, timeout_s)


def _exchange(port: int, method: str, path: str, body: Body | None, timeout_s: float) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    headers = {"Content-Type": body.content_type} if body else {}
    started = time.perf_counter()
    try:
        connection.request(method, path, body.content if body else None, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    seconds = time.perf_counter() - started
    try:
        return Reply(response.status, seconds, json.loads(content))
    except ValueError:  # a plain-text reply
        return Reply(response.status, seconds, None)
