"""Bearer tokens of a real provider, sent to a real service."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import jwt
import pytest

from app.access.caller import Scope
from tests.access.keys import bearer, make_key
from tests.access.oidc.conftest import node, provider
from tests.access.oidc.provider import AUDIENCE, Provider
from tests.access.oidc.test_forgeries import parts_of, public_pem, rebuilt
from tests.end_to_end.exchanges import Answer, exchange, request
from tests.end_to_end.services import ready_service
from tests.servers import RunningServer, wait_until

__all__ = ["node", "provider"]
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def key_and_server(
    provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, str], RunningServer]]:
    folder = tmp_path_factory.mktemp("oidc")
    key = make_key(folder / "state" / "keys.json", "lis", Scope.CLASSIFY)
    environ = {
        "OSTEO_OIDC_ISSUER": provider.issuer,
        "OSTEO_OIDC_AUDIENCE": AUDIENCE,
        "OSTEO_OIDC_TIMEOUT_S": str(TIMEOUT_S),
    }
    with ready_service(folder, **environ) as server:
        wait_until(lambda: any(e["event"] == "signing_keys_changed" for e in server.events()))
        yield key, server


@pytest.fixture
def server(key_and_server: tuple[dict[str, str], RunningServer]) -> RunningServer:
    return key_and_server[1]


@pytest.fixture
def key(key_and_server: tuple[dict[str, str], RunningServer]) -> dict[str, str]:
    return key_and_server[0]


def send(server: RunningServer, token: str, path: str = "/v1/classify") -> Answer:
    answer = exchange(server, request(path, bearer(token)))
    assert not any(part.encode() in answer.body for part in token.split(".") if part)
    return answer


def test_token_is_accepted_for_its_scopes(server: RunningServer, provider: Provider) -> None:
    token = provider.token(scope="classify")
    assert send(server, token).status == 200
    refused = send(server, token, "/v1/explain/grid")
    assert (refused.status, refused.problem) == (403, "scope-missing")
    assert send(server, provider.token(scope="explain"), "/v1/explain/grid").status == 200
    assert send(server, provider.token(scope="explain")).status == 403
    rollback = send(server, provider.token(scope="models:write"), "/v1/models/rollback")
    assert rollback.status == 404, "there is no previous version"


def test_tokens_and_keys_are_accepted_side_by_side(
    server: RunningServer, key: dict[str, str]
) -> None:
    assert exchange(server, request("/v1/classify", key)).status == 200
    assert exchange(server, request("/v1/classify")).status == 401


def forgeries(provider: Provider) -> dict[str, str]:
    header, claims, signature = parts_of(provider.token())
    unsigned = rebuilt({**header, "alg": "none"}, claims, "")
    head, body, _ = rebuilt({**header, "alg": "HS256"}, claims, "").split(".")
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    mac = algorithm.sign(f"{head}.{body}".encode(), public_pem(provider))
    return {
        "audience": provider.token(audience="https://reports.example"),
        "issuer": provider.token(issuer=provider.other_issuer),
        "none": unsigned,
        "HS256": f"{head}.{body}.{jwt.utils.base64url_encode(mac).decode()}",
        "expired": provider.signed(header, {**claims, "exp": int(time.time()) - 60}),
        "early": provider.signed(header, {**claims, "nbf": int(time.time()) + 3600}),
        "scope": rebuilt(header, {**claims, "scope": "classify models:write"}, signature),
    }


def test_other_tokens_are_refused(server: RunningServer, provider: Provider) -> None:
    header, claims, _ = parts_of(provider.token())
    assert send(server, provider.signed(header, claims)).status == 200
    for name, token in forgeries(provider).items():
        answer = send(server, token)
        assert (answer.status, answer.problem) == (401, "credentials-invalid"), name
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert send(server, token, "/v1/models/rollback").status == 401, name


def with_unknown_key(provider: Provider, name: str) -> str:
    header, claims, signature = parts_of(provider.token())
    return rebuilt({**header, "kid": name}, claims, signature)


@contextmanager
def silent_provider(url: str) -> Iterator[socket.socket]:
    """Listens where the provider was, and never answers."""
    address = urlsplit(url)
    with socket.create_server((address.hostname or "", address.port or 0), backlog=128) as server:
        yield server


def test_provider_that_is_away_is_503_for_unknown_keys_only(
    server: RunningServer, key: dict[str, str], provider: Provider
) -> None:
    new_token, known = provider.token(), provider.token()
    unknown = [with_unknown_key(provider, f"key-{n}") for n in range(4)]
    assert send(server, known).status == 200
    provider.kill()
    try:
        assert send(server, known).status == 200
        assert send(server, new_token).status == 200, "its key is known"
        answer = send(server, unknown[0])
        assert (answer.status, answer.problem) == (503, "identity-provider-unavailable")
        assert int(answer.headers["retry-after"]) > 0
        with ThreadPoolExecutor(3) as pool:
            with silent_provider(provider.issuer) as silent:
                waiting = [pool.submit(send, server, token) for token in unknown[1:]]
                asked, _ = silent.accept()  # they wait for the provider now
                for _ in range(2):
                    assert exchange(server, request("/v1/classify", key)).status == 200
                    assert send(server, known).status == 200
                is_over = any(answer.done() for answer in waiting)
                assert not is_over, "they are answered while others wait for the provider"
                asked.close()
            assert {answer.result().status for answer in waiting} == {503}
    finally:
        provider.start()
    assert exchange(server, request("/readyz", method="GET"), "GET").status == 200


def test_key_that_the_provider_rotates_in_is_fetched(
    server: RunningServer, provider: Provider
) -> None:
    provider.change_keys(add="rsa-2")
    token = provider.token()
    wait_until(lambda: send(server, token).status == 200)  # fetches are limited to one in 3 s
