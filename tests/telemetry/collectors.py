"""An OpenTelemetry collector: receives OTLP over HTTP and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.servers import wait_until


@dataclass(frozen=True)
class Span:
    """A decoded span; ids are hexadecimal, as in logs and headers."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    is_error: bool
    started_ns: int
    ended_ns: int
    trace_state: str
    attributes: dict[str, str | int]
    resource: dict[str, str | int]


@dataclass
class Collector:
    """What a collector has received; the status with which it answers can be changed."""

    url: str = ""
    status: int = 200
    spans: list[Span] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    headers: list[dict[str, str]] = field(default_factory=list)
    received: bytes = b""
    let_answer: threading.Event = field(default_factory=threading.Event)

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a service that sends its spans here, at once."""
        return {"OSTEO_TRACES_URL": self.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}

    def where(self, is_meant: Callable[[Span], bool]) -> list[Span]:
        """The spans that are meant, as soon as there is one."""
        wait_until(lambda: any(map(is_meant, list(self.spans))))
        return list(filter(is_meant, list(self.spans)))

    def below(self, parent: Span) -> list[Span]:
        """The spans below one that has arrived; they are sent before it."""
        found = [span for span in list(self.spans) if span.parent_id == parent.span_id]
        assert {span.trace_id for span in found} <= {parent.trace_id}
        return found

    def take(self, body: bytes) -> None:
        self.received += body
        if self.status == 200:
            self.spans += _decode(body)


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on a port of its own."""
    found = Collector()
    found.let_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.paths.add(self.path)
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            found.let_answer.wait()
            found.take(body)
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield found
        finally:
            found.let_answer.set()
            server.shutdown()
            thread.join()


def _decode(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        Span(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            kind=span.kind,
            is_error=span.status.code == 2,
            started_ns=span.start_time_unix_nano,
            ended_ns=span.end_time_unix_nano,
            trace_state=span.trace_state,
            attributes=_values(span.attributes),
            resource=_values(resource_spans.resource.attributes),
        )
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


def _values(attributes: Any) -> dict[str, str | int]:
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> str | int:
    return value.string_value if value.HasField("string_value") else value.int_value
