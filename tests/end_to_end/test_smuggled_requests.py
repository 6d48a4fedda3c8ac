"""Requests that try to pass for somebody else's, or to reach a route past its scope."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.access.caller import Scope
from tests.access.keys import bearer, make_key
from tests.end_to_end.exchanges import connect, exchange, request
from tests.end_to_end.services import ready_service
from tests.server.connections import receive_all, statuses
from tests.servers import RunningServer

NOBODY: dict[str, str] = {}
WRONG = bearer("osteo_00000000_" + "A" * 43)


@dataclass(frozen=True)
class Service:
    """A service, and what its callers send."""

    server: RunningServer
    classify: dict[str, str]
    audit: dict[str, str]
    admin: dict[str, str]

    @property
    def key(self) -> bytes:
        """The key of the caller who may classify, without anything around it."""
        return self.classify["Authorization"].removeprefix("Bearer ").encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("smuggled")
    keys = folder / "state" / "keys.json"
    classify = make_key(keys, "lis", Scope.CLASSIFY)
    audit = make_key(keys, "auditor", Scope.AUDIT_READ)
    admin = make_key(keys, "admin", Scope.MODELS_WRITE)
    with ready_service(folder, OSTEO_RATE_LIMITS="classify=100000/day") as server:
        yield Service(server, classify, audit, admin)


def with_key(service: Service, form: bytes) -> bytes:
    return form.replace(b"KEY", service.key)


@pytest.mark.parametrize(
    "lines",
    [
        b"AUTHORIZATION: BEARER KEY",
        b"authorization:bearer   KEY  ",
        b"X-API-Key: KEY",
        b"x-api-key:\tKEY\t",
    ],
)
def test_spellings_of_a_right_key_are_accepted(service: Service, lines: bytes) -> None:
    assert exchange(service.server, request("/v1/classify", with_key(service, lines))).status == 200


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Authorization: Bearer KEY\r\nAuthorization: Bearer KEY", 401),
        (b"Authorization: Bearer KEY\r\nX-API-Key: KEY", 401),
        (b"X-API-Key: KEY\r\nX-API-Key: other", 401),
        (b"Authorization: Bearer KEY, Bearer KEY", 401),
        (b"Authorization: Bearer\r\n KEY", 400),  # folded
        (b"Authorization : Bearer KEY", 400),
        (b"Authorization: Bearer KEY\0", 400),
        (b"Authorization: Bearer KEY" + b"a" * 30_000, 401),
        (b"Authorization: Bearer " + b"a" * 100_000, 431),
        (b"Authorization: Bearer " + bytes(range(0x80, 0x100)), 401),
        (b"Authorization: Bearer KEY\xff", 401),
        (b"Authorization: Bearer osteo_\xed\xa0\x80_", 401),
        (b"Authorization:", 401),
        (b"Authorization: Bearer", 401),
        (b"X-API-Key:", 401),
        (b"X_API_Key: KEY", 401),
        (b"Authorization: Basic KEY", 401),
        (b"Cookie: key=KEY", 401),
        (b"Proxy-Authorization: Bearer KEY", 401),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_other_spellings_are_refused(service: Service, lines: bytes, status: int) -> None:
    answer = exchange(service.server, request("/v1/classify", with_key(service, lines)))
    assert answer.status == status
    assert service.key not in answer.body
    assert base64.b64encode(service.key) not in answer.body


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "X-API-Key", "authorization"])
def test_key_in_the_query_is_not_taken(service: Service, name: str) -> None:
    target = f"/v1/classify?{name}=".encode() + service.key
    answer = exchange(service.server, request(target))
    assert (answer.status, answer.problem) == (401, "credentials-missing")


@pytest.mark.parametrize(
    "target",
    [
        *("/v1/models/1/activate", "/v1/models/rollback", "/v1/models/rollback/"),
        *("/v1/models/rollback//", "/v1/models/rollback%0A", "/v1/models/rollback%00"),
        *("/v1/models%2frollback", "/v1/%6dodels/rollback", "http://x/v1/models/rollback"),
        *("/v1/models/rollback?x", "/v1/models/%2e/activate", "/v1/models/..%2f1/activate"),
    ],
)
def test_model_routes_need_their_scope_in_every_spelling(service: Service, target: str) -> None:
    answer = exchange(service.server, request(target, service.classify, body=b""))
    assert (answer.status, answer.problem) == (403, "scope-missing")


@pytest.mark.parametrize(
    "target",
    [
        *("//v1/models/1/activate", "/v1/./models/1/activate", "/V1/models/rollback", "*"),
        *("/v1/classify/../models/rollback", "//x/v1/models/rollback", "/v1//models/rollback"),
    ],
)
def test_other_paths_are_no_routes(service: Service, target: str) -> None:
    answer = exchange(service.server, request(target, service.admin, body=b""))
    assert (answer.status, answer.problem) == (404, "not-found")


@pytest.mark.parametrize(
    "target",
    [
        *("/v1/classify", "/v1/classify%0A", "/v1/%63lassify", "/v1/classify/"),
        *("http://x/v1/classify", "/v1/classify%0A?explain=1", "/v1/classify/batch%0A"),
        *("/v1/explain%0A", "/v1/explain/grid%0A"),
    ],
)
def test_tile_routes_need_their_scope_in_every_spelling(service: Service, target: str) -> None:
    answer = exchange(service.server, request(target, service.audit))
    assert (answer.status, answer.problem) == (403, "scope-missing")


@pytest.mark.parametrize("target", ["/metrics", "/metrics%0A", "/metrics/", "/%6detrics"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_metrics_need_their_scope_in_every_spelling(
    service: Service, target: str, method: str
) -> None:
    sent = request(target, service.classify, method=method)
    assert exchange(service.server, sent, method).status == 403


@pytest.mark.parametrize(
    "query",
    [
        *("?explain=true", "?explain=false&explain=true", "?explain=1&explain", "?%65xplain=1"),
        *("?explain=%74rue", "?explain=TRUE", "?explain=%20true"),
    ],
)
def test_evidence_needs_its_scope_in_every_spelling(service: Service, query: str) -> None:
    answer = exchange(service.server, request(f"/v1/classify{query}", service.classify))
    assert (answer.status, answer.problem) == (403, "scope-missing")


@pytest.mark.parametrize("query", ["?explain=false", "?explain=true&explain=no", "?x=explain"])
def test_classification_needs_no_other_scope(service: Service, query: str) -> None:
    assert exchange(service.server, request(f"/v1/classify{query}", service.classify)).status == 200


@pytest.mark.parametrize(
    "target",
    [
        *("/v1/classify?explain=true#&explain=false", "/v1/classify#", "http://x#/v1/classify"),
        *("http://x", "http://x?", "x:", b"/v1/classify?\xff"),
    ],
)
def test_target_that_can_be_read_in_two_ways_is_refused(
    service: Service, target: str | bytes
) -> None:
    assert exchange(service.server, request(target, service.classify)).status == 400


@pytest.mark.parametrize(
    "method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "GET", "PROPFIND"]
)
def test_other_methods_change_no_model(service: Service, method: str) -> None:
    override = "X-HTTP-Method-Override: POST"
    sent = request("/v1/models/rollback", service.admin, override, method=method, body=b"")
    assert exchange(service.server, sent, method).status == 405


@pytest.mark.parametrize("method", ["FOO", "post", "CONNECT"])
def test_unknown_methods_are_refused(service: Service, method: str) -> None:
    assert exchange(service.server, request("/v1/classify", method=method)).status == 400


@pytest.mark.parametrize(
    "line",
    ["Transfer-Encoding: chunked", "Transfer-Encoding: xchunked", "Content-Length: 0"],
)
def test_body_with_two_ends_is_refused(service: Service, line: str) -> None:
    sent = request("/v1/classify", service.classify, line)
    assert exchange(service.server, sent).status == 400


@pytest.mark.parametrize("target", ["/v1/classify", "/v1/models/rollback", "/v1/models/1/activate"])
def test_key_behind_the_body_is_not_taken(service: Service, target: str) -> None:
    sent = request(target, body=b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    trailer = b"Authorization: " + service.admin["Authorization"].encode() + b"\r\nX: y"
    answer = exchange(service.server, sent + b"1\r\nx\r\n0\r\n" + trailer + b"\r\n\r\n")
    assert (answer.status, answer.problem) == (401, "credentials-missing")


def test_caller_is_judged_over_http_1_0(service: Service) -> None:
    assert exchange(service.server, request("/v1/classify", version="1.0")).status == 401
    sent = request("/v1/classify", service.classify, version="1.0")
    assert exchange(service.server, sent).status == 200


def test_pipelined_requests_are_judged_each(service: Service) -> None:
    last = service.admin | {"Connection": "close"}
    callers = [service.classify, service.audit, WRONG, NOBODY, service.classify, last]
    with connect(service.server) as connection:
        connection.sendall(b"".join(request("/v1/classify", caller) for caller in callers))
        received = receive_all(connection)
    assert statuses(received) == [200, 403, 401, 401, 200, 403]


def test_nothing_was_logged_as_an_unexpected_error(service: Service) -> None:
    """Runs last: all of the above was foreseen."""
    events = service.server.events()
    assert [event for event in events if "traceback" in event or "exception" in event] == []
