"""Collectors that are away or refuse, and settings that cannot work."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.end_to_end.exchanges import exchange, request
from tests.end_to_end.services import ready_service, run_osteo
from tests.forking import RUN_APP, ForkedProcess
from tests.servers import RunningServer, free_port, wait_until
from tests.telemetry.collectors import collector

AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "20"}
ONE_RETRY = "from app.telemetry import span_export; span_export._POST_WITHIN_S = 2.0"
"""One more try; the service would go on for seconds."""
N_SPANS = 7
"""Of a tile: its request, and six parts."""


def classify(server: RunningServer, n_tiles: int = 1) -> None:
    for _ in range(n_tiles):
        assert exchange(server, request("/v1/classify")).status == 200


def reasons(server: RunningServer) -> list[object]:
    """Why the service says that it cannot export."""
    lines = server.events()
    assert not [line for line in lines if str(line["logger"]).startswith("opentelemetry")]
    return [line["reason"] for line in lines if line["event"] == "trace_export_failing"]


def test_tiles_are_answered_while_there_is_no_collector(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/ingest/T0ken/v1/traces"
    # Each batch is tried for a second, so let all spans of the tile be one batch.
    environ = {"OSTEO_TRACES_URL": url, "OTEL_BSP_SCHEDULE_DELAY": "500"}
    with ready_service(tmp_path, before=ONE_RETRY, **environ) as server:
        classify(server)
        wait_until(lambda: server.metric("osteo_trace_spans_lost_total") == N_SPANS)
        assert server.metric("osteo_trace_spans_total") == 0
        classify(server)
        wait_until(lambda: server.metric("osteo_trace_spans_lost_total") == 2 * N_SPANS)
        assert server.stop() == 0
        (reason,) = reasons(server)
        assert "refused" in str(reason)
        assert "T0ken" not in (tmp_path / "serve.log").read_text()


def test_wrong_path_of_the_collector_is_logged(tmp_path: Path) -> None:
    with collector() as found:
        found.status = 404
        url = f"{found.url}/wrong"
        with ready_service(tmp_path, OSTEO_TRACES_URL=url, **AT_ONCE) as server:
            classify(server)
            wait_until(lambda: server.metric("osteo_trace_spans_lost_total") == N_SPANS)
            found.status = 200
            classify(server)
            wait_until(lambda: server.metric("osteo_trace_spans_total") == N_SPANS)
            server.stop()
            (reason,) = reasons(server)
            assert "404" in str(reason)
            assert "trace_export_recovered" in [line["event"] for line in server.events()]
        assert found.paths == {"/wrong"}


def test_service_ends_while_the_collector_hangs(tmp_path: Path) -> None:
    with collector() as found:
        found.let_answer.clear()
        with ready_service(tmp_path, **found.environ) as server:
            classify(server)
            wait_until(lambda: bool(found.paths))
            classify(server)
            assert server.stop() == 0
            lines = {line["event"]: line for line in server.events()}
            # The exporter gives a batch up after some seconds. On a busy machine none may be left.
            assert lines.keys() & {"trace_spans_lost", "trace_export_failing"}
            if "trace_spans_lost" in lines:
                assert 0 < int(str(lines["trace_spans_lost"]["n_spans"])) <= 2 * N_SPANS


def test_missing_extra_is_named_at_start(tmp_path: Path) -> None:
    hook = "import sys; sys.modules['opentelemetry.sdk'] = None\n"
    with ForkedProcess(
        ["serve", "--port", "0"],
        code=hook + RUN_APP,
        cwd=tmp_path,
        env={"OSTEO_TRACES_URL": "http://127.0.0.1:4318"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "pip install 'osteo-tiles[tracing]'" in errors
    assert "Traceback" not in errors


def test_wrong_url_is_refused_at_start(tmp_path: Path) -> None:
    url = "https://me:Pa55word@collector"
    done = run_osteo(tmp_path, "serve", "--port", "0", OSTEO_TRACES_URL=url)
    assert done.returncode == 2
    assert "OTEL_EXPORTER_OTLP_HEADERS" in done.stderr
    assert "Pa55word" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
