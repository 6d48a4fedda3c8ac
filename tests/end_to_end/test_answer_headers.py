"""Every answer says that nobody may keep it or guess its type, and what a browser may run."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.access.caller import Scope
from app.api.transport_security import STRICT_TRANSPORT_SECURITY
from tests.access.keys import bearer, make_key
from tests.authorities import Authority
from tests.end_to_end.exchanges import exchange, request
from tests.end_to_end.services import ready_service
from tests.servers import RunningServer

REQUESTS = {
    "GET": (
        *("/", "/docs", "/openapi.json", "/problems/queue-full", "/metrics", "/livez", "/readyz"),
        *("/v1/models", "/static-offline-docs/swagger-ui.css", "/nothing", "/v1/classify"),
        "/static-offline-docs/nothing.css",
    ),
    "POST": (
        *("/v1/classify", "/v1/classify/batch", "/v1/explain", "/v1/explain/grid"),
        *("/v1/models/1/activate", "/v1/models/rollback", "/v1/models/x/activate", "/livez"),
        "/v1/classify?explain=maybe",
    ),
}


@dataclass(frozen=True)
class Service:
    """A service, headers of a caller and of one who is limited, and how to speak to it."""

    server: RunningServer
    key: dict[str, str]
    limited: dict[str, str]
    tls: ssl.SSLContext | None


@pytest.fixture(scope="module", params=["http", "https"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp(request.param)
    keys = folder / "state" / "keys.json"
    key, limited = make_key(keys, "lis"), make_key(keys, "limited", Scope.EXPLAIN)
    environ = {"OSTEO_RATE_LIMITS": "explain=3/day"}
    tls = None
    if request.param == "https":
        authority = Authority(folder, "hospital")
        issued, tls = authority.issue("server"), authority.trust()
        environ |= {
            "OSTEO_TLS_CERTIFICATE": str(issued.certificate),
            "OSTEO_TLS_KEY": str(issued.key),
        }
    with ready_service(folder, tls, **environ) as server:
        yield Service(server, key, limited, tls)


def require_headers(service: Service, sent: bytes, method: str = "POST") -> int:
    """Check the headers of the answer; returns its status."""
    answer = exchange(service.server, sent, method, service.tls)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    expected = None if service.tls is None else STRICT_TRANSPORT_SECURITY
    assert answer.headers.get("strict-transport-security") == expected
    return answer.status


def test_answers_of_every_route_have_them(service: Service) -> None:
    found = {
        require_headers(service, request(path, headers, method=method), method)
        for method, paths in {**REQUESTS, "HEAD": REQUESTS["GET"]}.items()
        for path in paths
        for headers in ({}, service.key)
    }
    assert found >= {200, 401, 403, 404, 405, 422}


def test_early_rejections_have_them(service: Service) -> None:
    wrong = bearer("osteo_00000000_" + "A" * 43)
    assert require_headers(service, request("/v1/classify", wrong)) == 401
    tile = request("/v1/explain/grid", service.limited)
    assert [require_headers(service, tile) for _ in range(4)] == [200, 200, 200, 429]
    assert require_headers(service, request("/v1/classify", "X-Request-ID: \x01")) == 400


def test_other_methods_have_them(service: Service) -> None:
    for method in ("OPTIONS", "PUT", "DELETE"):
        sent = request("/v1/models", service.key, method=method)
        assert require_headers(service, sent, method) == 405


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (request("/", method="FOO"), 400),
        (request("/#", method="GET"), 400),
        (request("/", "Host: y"), 400),
        (request("/", b"X: " + b"y" * 100_000), 431),
        (request("/", "Transfer-Encoding: chunked"), 400),
    ],
    ids=["garbage", "method", "fragment", "two hosts", "long head", "two lengths"],
)
def test_refusals_of_what_is_not_http_have_them(service: Service, sent: bytes, status: int) -> None:
    assert require_headers(service, sent) == status


def test_answers_over_plain_http_have_them(service: Service) -> None:
    answer = exchange(service.server, request("/livez", method="GET"), "GET")
    assert answer.status == (200 if service.tls is None else 400)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "strict-transport-security" not in answer.headers
