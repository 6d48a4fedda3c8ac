"""Requests to other services carry the trace of the request that needs them."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.access.oidc.key_server import key_server, plain_answer, sign
from tests.access.oidc.provider import new_rsa_key
from tests.end_to_end.exchanges import exchange, request
from tests.end_to_end.services import ready_service
from tests.servers import RunningServer, wait_until
from tests.slides.dicom.failing_archive import answer, archive
from tests.telemetry.collectors import collector

CLIENT = 3
TRACE_ID, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER_SPAN}-01"


def events(server: RunningServer) -> dict[str, dict[str, object]]:
    """The latest log line of each event."""
    return {str(line["event"]): line for line in server.events()}


def test_fetch_of_signing_keys_carries_the_trace(tmp_path: Path) -> None:
    key = {**new_rsa_key(), "kid": "k2"}
    claims = {"sub": "lis", "exp": int(time.time()) + 600}
    with collector() as found, key_server() as provider:
        provider.publish([{name: key[name] for name in ("kty", "n", "e")}])
        settings = {"OSTEO_OIDC_ISSUER": provider.issuer, "OSTEO_OIDC_AUDIENCE": "tiles"}
        with ready_service(tmp_path, **found.environ, **settings) as server:
            # The service fetches keys at start, for no request. A request that came while it did
            # would share that fetch.
            wait_until(lambda: "signing_keys_changed" in events(server))
            assert set(provider.traceparents) == {None}
            provider.answers["/jwks"] = plain_answer(b"", 500)
            headers = {
                "Authorization": f"Bearer {sign(key, 'RS256', claims)}",
                "traceparent": TRACEPARENT,
            }
            assert exchange(server, request("/v1/classify", headers)).status == 503
            calls = found.where(lambda span: span.name == "identity provider")
            assert {(span.kind, span.trace_id) for span in calls} == {(CLIENT, TRACE_ID)}
            sent = {f"00-{TRACE_ID}-{span.span_id}-01" for span in calls}
            assert sent <= set(provider.traceparents)
            wait_until(lambda: "identity_provider_failed" in events(server))
            assert events(server)["identity_provider_failed"]["trace_id"] == TRACE_ID


def test_fetch_of_a_dicom_series_carries_the_trace(tmp_path: Path) -> None:
    received: list[tuple[str | None, str | None]] = []

    def search(handler: BaseHTTPRequestHandler) -> None:
        received.append((handler.headers["traceparent"], handler.headers["tracestate"]))
        answer(b"", "text/plain", 404)(handler)

    body = b'{"study": "1.2.3", "series": "1.2.4"}'
    with collector() as found, archive(search, search) as url:
        settings = {"OSTEO_DICOMWEB_URL": url}
        with ready_service(tmp_path, **found.environ, **settings) as server:
            headers = {"traceparent": TRACEPARENT, "tracestate": "a=1"}
            sent = request("/v1/slides", headers, body=body).replace(
                b"Content-Type: image/jpeg", b"Content-Type: application/json"
            )
            reply = exchange(server, sent)
            assert reply.problem == "series-not-found", reply.body
            (call,) = found.where(lambda span: span.name == "DICOMweb")
            (span,) = found.where(lambda span: span.name == "POST /v1/slides")
            assert (call.kind, call.parent_id, call.is_error) == (CLIENT, span.span_id, True)
            assert received == [(f"00-{TRACE_ID}-{call.span_id}-01", None)]
