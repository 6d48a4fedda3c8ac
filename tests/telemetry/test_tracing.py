"""What the domain calls, without a trace and with one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from app.telemetry import span_export
from app.telemetry.request_traces import Tracer
from app.telemetry.span_export import SpanExport
from app.telemetry.tracing import calling, carried, current_trace, enter_queue, stage, tracing
from tests.servers import wait_until
from tests.telemetry.collectors import Collector, collector

RESOURCE = {"service.name": "osteo-tiles", "service.version": "1"}


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with collector() as running:
        yield running


@pytest.fixture
def export(found: Collector) -> Iterator[SpanExport]:
    opened = SpanExport(f"{found.url}/v1/traces")
    yield opened
    found.let_answer.set()
    opened.close()


def tracer_of(export: SpanExport, share: float = 1.0, max_per_s: float = 1e6) -> Tracer:
    return Tracer(RESOURCE, share, max_per_s, export)


def test_nothing_is_made_without_a_trace() -> None:
    def work() -> None:
        pass

    assert stage("decode") is stage("infer") is enter_queue()
    assert tracing(None) is tracing(None)
    assert carried(work) is work
    with calling("DICOMweb") as headers:
        assert headers == {}


def test_another_thread_works_for_the_trace_only_if_it_is_carried(export: SpanExport) -> None:
    trace = tracer_of(export).begin((), ())
    seen: list[object] = []

    def look() -> None:
        seen.append(current_trace())

    with tracing(trace):
        for work in (look, carried(look)):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert seen == [None, trace]
    assert current_trace() is None


def test_span_ends_once(export: SpanExport, found: Collector) -> None:
    with tracing(tracer_of(export).begin((), ())):
        with stage("read") as span:
            span.end()
        stage("encode").end()
    found.where(lambda span: span.name == "encode")
    assert [span.name for span in found.spans] == ["read", "encode"]


def test_unsampled_trace_goes_on_elsewhere(export: SpanExport) -> None:
    trace = tracer_of(export).begin([f"00-{'1' * 32}-{'2' * 16}-00"], ["a=1", "b=2"])
    with tracing(trace), calling("DICOMweb") as headers:
        assert stage("read") is stage("encode")
    version, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", "1" * 32, "00")
    assert span_id not in {"2" * 16, "0" * 16}
    assert headers.keys() == {"traceparent"}


@pytest.mark.parametrize(
    ("share", "low", "high"), [(0.0, 0, 0), (0.5, 400, 600), (1.0, 1000, 1000)]
)
def test_share_of_requests_is_sampled(
    export: SpanExport, share: float, low: int, high: int
) -> None:
    tracer = tracer_of(export, share)
    assert low <= sum(tracer.begin((), ()).is_sampled for _ in range(1000)) <= high


def test_caller_decides_whatever_the_share(export: SpanExport) -> None:
    wanted, unwanted = ([f"00-{'1' * 32}-{'2' * 16}-{flags}"] for flags in ("01", "00"))
    assert tracer_of(export, 0.0).begin(wanted, ()).is_sampled
    assert not tracer_of(export, 1.0).begin(unwanted, ()).is_sampled


def test_callers_cannot_have_more_requests_traced_than_the_limit(export: SpanExport) -> None:
    clock = Clock()
    tracer = Tracer(RESOURCE, 1.0, 10.0, export, clock)
    wanted = [f"00-{'1' * 32}-{'2' * 16}-01"]

    def n_sampled() -> int:
        return sum(tracer.begin(wanted, ()).is_sampled for _ in range(50))

    assert n_sampled() == 10
    assert n_sampled() == 0
    clock.now_s += 0.55
    assert n_sampled() == 5
    clock.now_s += 3600
    assert n_sampled() == 10


def test_full_buffer_drops_spans_and_counts_them(
    export: SpanExport, found: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    found.let_answer.clear()
    n_waiting, n_more = 3000, 100  # more than OpenTelemetry's own queue holds
    monkeypatch.setattr(span_export, "MAX_WAITING_SPANS", n_waiting)
    with tracing(tracer_of(export).begin((), ())):
        for _ in range(n_waiting + n_more):
            stage("read").end()
    assert export.n_lost == n_more
    found.let_answer.set()
    wait_until(lambda: export.n_exported == n_waiting)
    assert len(found.spans) == n_waiting
    assert export.n_waiting == 0
