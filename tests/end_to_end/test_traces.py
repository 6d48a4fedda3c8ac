"""The traces of a running service, as a collector receives them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.end_to_end.exchanges import TILE, exchange, request
from tests.end_to_end.services import ready_service
from tests.servers import RunningServer, wait_until
from tests.telemetry.collectors import Collector, Span, collector

INTERNAL, SERVER = 1, 2
STAGES = ["read", "queue", "decode", "infer", "assess", "encode"]
CALLER_SPAN = "b7ad6b7169203331"


@dataclass
class Traced:
    """A service and its collector."""

    server: RunningServer
    collector: Collector

    def ask(self, target: str, **headers: str) -> tuple[str, Span]:
        """Send a tile; returns its request id and the span of the request."""
        request_id = uuid.uuid4().hex
        headers = {"X-Request-ID": request_id} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        answer = exchange(self.server, request(target, headers))
        assert answer.status == 200, answer.body
        return request_id, self.span_of(request_id)

    def span_of(self, request_id: str) -> Span:
        """The span of a request, once it is here."""
        (found,) = self.collector.where(
            lambda span: span.attributes.get("osteo.request_id") == request_id
        )
        return found

    def log_line(self, request_id: str) -> dict[str, object]:
        """What the service has logged of a request, once it is there."""

        def lines() -> list[dict[str, object]]:
            return [line for line in self.server.events() if line.get("request_id") == request_id]

        wait_until(lambda: bool(lines()))
        (found,) = lines()
        return found


@dataclass
class Caller:
    """A trace that a caller has begun."""

    flags: str = "01"
    trace_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{CALLER_SPAN}-{self.flags}"


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")
    settings = {"OSTEO_REPLICA": "pod-7", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20t"}
    with collector() as found, ready_service(folder, **found.environ, **settings) as one:
        yield Traced(one, found)


def test_classify_has_a_span_for_each_part_of_its_work(traced: Traced) -> None:
    _, span = traced.ask("/v1/classify")
    assert (span.name, span.kind, span.parent_id) == ("POST /v1/classify", SERVER, "")
    parts = traced.collector.below(span)
    assert [part.name for part in sorted(parts, key=lambda part: part.started_ns)] == STAGES
    for part in parts:
        assert part.kind == INTERNAL
        assert span.started_ns <= part.started_ns <= part.ended_ns <= span.ended_ns


def test_span_of_a_request_describes_the_answer_and_the_service(traced: Traced) -> None:
    request_id, span = traced.ask("/v1/classify?explain=true")
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/classify",
        "http.response.status_code": 200,
        "osteo.request_id": request_id,
        "osteo.n_tiles": 1,
        "osteo.model.version": "1",
    }
    assert span.resource["service.name"] == "osteo-tiles"
    assert span.resource["service.instance.id"] == "pod-7"
    assert span.resource["osteo.model.name"] == "osteo-mobilenetv2"
    assert span.resource["service.version"]


def test_trace_of_the_caller_goes_on(traced: Traced) -> None:
    caller = Caller()
    _, span = traced.ask("/v1/classify", traceparent=caller.traceparent, tracestate="a=1,b=2")
    assert (span.trace_id, span.parent_id) == (caller.trace_id, CALLER_SPAN)
    assert {found.trace_state for found in traced.collector.below(span)} == {"a=1,b=2"}


def test_log_line_has_the_ids_of_the_span(traced: Traced) -> None:
    request_id, span = traced.ask("/v1/classify")
    line = traced.log_line(request_id)
    assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id)
    assert line["trace_sampled"] is True


def test_caller_that_does_not_sample_gets_no_span(traced: Traced) -> None:
    caller = Caller(flags="00")
    headers = {"traceparent": caller.traceparent, "X-Request-ID": "unsampled"}
    assert exchange(traced.server, request("/v1/classify", headers)).status == 200
    traced.ask("/v1/classify")  # its spans come later than those of the request before it
    assert not [span for span in traced.collector.spans if span.trace_id == caller.trace_id]
    line = traced.log_line("unsampled")
    assert (line["trace_id"], line["trace_sampled"]) == (caller.trace_id, False)


@pytest.mark.parametrize(
    "lines",
    [
        ["traceparent: 00-0-0-01"],
        [f"traceparent: ff-{'1' * 32}-{'1' * 16}-01"],
        [f"traceparent: 00-{'0' * 32}-{'1' * 16}-01"],
        [f"traceparent: 00-{'1' * 32}-{'1' * 16}-01", f"traceparent: 00-{'2' * 32}-{'2' * 16}-01"],
        ["traceparent: " + "x" * 4000, "tracestate: =,=;\x80"],
    ],
)
def test_wrong_traceparent_begins_a_trace(traced: Traced, lines: list[str]) -> None:
    request_id = uuid.uuid4().hex
    answer = exchange(traced.server, request("/v1/classify", *lines, {"X-Request-ID": request_id}))
    assert answer.status == 200
    assert traced.span_of(request_id).parent_id == ""


def test_wrong_tracestate_is_left_out(traced: Traced) -> None:
    caller = Caller()
    state = "DOE^JANE=," + "a=1," * 40
    _, span = traced.ask("/v1/classify", traceparent=caller.traceparent, tracestate=state)
    assert (span.trace_id, span.trace_state) == (caller.trace_id, "")


def test_batch_has_the_spans_of_each_tile(traced: Traced) -> None:
    files = [("files", ("a.jpg", TILE)), ("files", ("b.jpg", b"no tile")), ("files", ("c", TILE))]
    request_id = uuid.uuid4().hex
    url = f"{traced.server.url}/v1/classify/batch"
    answer = traced.server.client.post(url, files=files, headers={"X-Request-ID": request_id})
    assert answer.status_code == 200
    span = traced.span_of(request_id)
    assert (span.attributes["osteo.n_tiles"], span.attributes["osteo.n_problems"]) == (3, 1)
    parts = traced.collector.below(span)
    by_tile = {
        index: {part.name for part in parts if part.attributes.get("osteo.tile_index") == index}
        for index in (None, 0, 1, 2)
    }
    whole = {"queue", "decode", "infer", "assess"}
    assert by_tile == {None: {"read", "encode"}, 0: whole, 1: {"queue", "decode"}, 2: whole}
    (failed,) = [part for part in parts if part.is_error]
    assert (failed.name, failed.attributes["osteo.tile_index"]) == ("decode", 1)


def test_explain_encodes_its_picture(traced: Traced) -> None:
    _, span = traced.ask("/v1/explain")
    parts = {part.name: part for part in traced.collector.below(span)}
    assert sorted(parts) == sorted(STAGES)
    drawing, decoding = parts["encode"], parts["decode"]
    assert decoding.ended_ns <= drawing.started_ns < drawing.ended_ns


def test_refusal_on_the_headers_has_a_span(traced: Traced) -> None:
    caller = Caller()
    headers = {"traceparent": caller.traceparent, "X-Request-ID": ""}
    assert exchange(traced.server, request("/v1/classify", headers)).status == 400
    (span,) = traced.collector.where(lambda span: span.trace_id == caller.trace_id)
    assert (span.name, span.is_error) == ("POST /v1/classify", False)
    assert span.attributes["osteo.problem"] == "invalid-request-id"


def test_probes_have_no_span(traced: Traced) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert exchange(traced.server, request(path, method="GET"), "GET").status == 200
    traced.ask("/v1/classify")
    routes = {span.attributes.get("http.route") for span in traced.collector.spans}
    assert routes.isdisjoint({"/livez", "/readyz", "/metrics"})


def test_collector_gets_the_headers_of_the_standard_variable(traced: Traced) -> None:
    traced.ask("/v1/classify")
    assert traced.collector.headers[-1]["authorization"] == "Bearer t"
    assert traced.collector.paths == {"/v1/traces"}
    assert traced.server.metric("osteo_trace_spans_total") > 0
    assert traced.server.metric("osteo_trace_spans_lost_total") == 0


def test_spans_are_sent_before_the_service_ends(tmp_path: Path) -> None:
    with collector() as found, ready_service(tmp_path, OSTEO_TRACES_URL=found.url) as server:
        assert exchange(server, request("/v1/classify")).status == 200
        assert server.stop() == 0
        assert sorted(span.name for span in found.spans) == sorted([*STAGES, "POST /v1/classify"])


def test_spans_hold_nothing_that_could_name_a_patient(traced: Traced) -> None:
    patient = "DOE-JANE"
    url = traced.server.url
    headers = dict.fromkeys(("User-Agent", "Referer", "Cookie", "X-API-Key", "baggage"), patient)
    files = [("files", (f"{patient}.jpg", TILE)), ("files", (f"{patient}.tif", b"no tile"))]
    sent = [
        request(f"/v1/classify?name={patient}&explain={patient}", headers),
        request(f"/v1/{patient}?name={patient}", headers, method="GET"),
        request(f"/v1/models/{patient}/activate", headers),
        request(f"/v1/slides/{patient}", headers, method="GET"),
        request("/v1/explain?label=" + patient, headers),
        request("/v1/classify", headers, body=patient.encode()),
    ]
    statuses = {exchange(traced.server, one).status for one in sent}
    assert statuses <= {401, 404, 415, 422}
    client = traced.server.client
    batch = client.post(f"{url}/v1/classify/batch", files=files, headers=headers)
    assert batch.status_code == 200
    traced.ask("/v1/classify")
    routes = {span.attributes.get("http.route") for span in traced.collector.spans}
    assert routes >= {"unmatched", "/v1/classify/batch", "/v1/models/{version}/activate"}
    for told in (patient.encode(), b"127.0.0.1", b"127.1."):
        assert told not in traced.collector.received
