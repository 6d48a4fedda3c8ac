"""Which requests the shipped configurations send to the other replica, and which not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app.settings import Settings
from tests.deploy.proxy.failing_replicas import RETRY_AFTER_S, failing_replicas
from tests.server.ingresses import PROGRAMS, ingress, shipped_configuration
from tests.servers import free_port


@dataclass(frozen=True)
class Failing:
    """A client of an ingress, what its replicas have seen, and the status of its answers."""

    client: httpx2.Client
    seen: list[tuple[str, str]]
    status: int


@pytest.fixture(scope="module", params=[True, False], ids=["silent", "refusing"])
def failing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Failing]:
    """nginx in front of replicas that close each connection, or answer 503."""
    with (
        failing_replicas(is_silent=request.param) as (addresses, seen),
        ingress("nginx", tmp_path_factory.mktemp("nginx"), addresses) as proxy,
        proxy.client() as client,
    ):
        yield Failing(client, seen, 502 if request.param else 503)


@pytest.mark.parametrize(
    ("method", "path", "n_seen"),
    [
        ("POST", "/v1/classify", 2),
        ("POST", "/v1/explain", 2),
        ("POST", "/v1/models/rollback", 1),
        ("GET", "/v1/jobs/1", 2),
        ("DELETE", "/v1/jobs/1", 1),  # the first one cancels the job, a second one deletes it
        ("DELETE", "/v1/slides/1", 1),
        ("DELETE", "/v1/uploads/1", 1),
        ("PATCH", "/v1/uploads/1", 1),
        ("PUT", "/v1/uploads/1", 1),
    ],
)
def test_nginx_repeats_only_what_is_safe_to_repeat(
    method: str, path: str, n_seen: int, failing: Failing
) -> None:
    content = None if method in {"GET", "DELETE"} else b"tile"
    n_before = len(failing.seen)
    answer = failing.client.request(method, path, content=content)
    assert answer.status_code == failing.status
    assert len(failing.seen) - n_before == n_seen


def test_nginx_passes_on_a_503_that_both_replicas_give(tmp_path: Path) -> None:
    with (
        failing_replicas() as (addresses, seen),
        ingress("nginx", tmp_path, addresses) as proxy,
        proxy.client() as client,
    ):
        for n_requests in (1, 2, 3):  # no replica is left out because of it
            answer = client.post("/v1/classify", content=b"tile")
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == str(RETRY_AFTER_S)
            assert len(seen) == 2 * n_requests


def test_nginx_does_not_repeat_what_took_long(tmp_path: Path) -> None:
    shorter = {"proxy_next_upstream_timeout 8s": "proxy_next_upstream_timeout 100ms"}
    with (
        failing_replicas(delay_s=0.3) as (addresses, seen),
        ingress("nginx", tmp_path, addresses, **shorter) as proxy,
        proxy.client() as client,
    ):
        assert client.post("/v1/classify", content=b"tile").status_code == 503
        assert len(seen) == 1


def test_nginx_gives_up_repeating_before_the_service_gives_up() -> None:
    found = re.search(r"proxy_next_upstream_timeout (\d+)s;", shipped_configuration("nginx"))
    assert found
    settings = Settings()
    assert int(found[1]) < min(settings.request_timeout_s, 5 * settings.max_decode_s)


def test_haproxy_repeats_no_request_that_a_replica_had(tmp_path: Path) -> None:
    with (
        failing_replicas(is_silent=True) as (addresses, seen),
        ingress("haproxy", tmp_path, addresses) as proxy,
        proxy.client() as client,
    ):
        assert client.post("/v1/classify", content=b"tile").status_code == 502
        assert len(seen) == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_request_goes_to_the_other_replica_if_one_does_not_listen(
    program: str, tmp_path: Path
) -> None:
    with failing_replicas() as (addresses, seen):
        dead = ("127.0.0.1", free_port())
        with ingress(program, tmp_path, [dead, addresses[0]]) as proxy, proxy.client() as client:
            for n_requests in range(1, 7):
                assert client.post("/v1/models/rollback").status_code == 503
                assert len(seen) == n_requests
