"""Rate limits of two services: together in Redis, each for itself without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.access.caller import Scope
from tests.access.keys import make_key
from tests.access.redis_server import PASSWORD, RedisServer
from tests.end_to_end.exchanges import Answer, exchange, request
from tests.end_to_end.services import ready_service
from tests.servers import RunningServer, wait_until

LIMIT = 3


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


def two_services(stack: ExitStack, folder: Path, **environ: str) -> list[RunningServer]:
    """Services with the same keys."""
    environ |= {
        "OSTEO_KEYS_FILE": str(folder / "keys.json"),
        "OSTEO_RATE_LIMITS": f"classify={LIMIT}/day",
    }
    servers = []
    for name in ("first", "second"):
        (folder / name).mkdir()
        servers.append(stack.enter_context(ready_service(folder / name, **environ)))
    return servers


def statuses(servers: list[RunningServer], key: dict[str, str], n_each: int) -> list[int]:
    """The statuses of tiles that are sent to the services in turn."""
    return [answer.status for answer in answers(servers, key, n_each)]


def answers(servers: list[RunningServer], key: dict[str, str], n_each: int) -> list[Answer]:
    sent = request("/v1/classify", key)
    return [exchange(server, sent) for _ in range(n_each) for server in servers]


def test_services_count_together_in_redis_and_serve_while_it_is_away(
    tmp_path: Path, redis: RedisServer
) -> None:
    key = make_key(tmp_path / "keys.json", "lis", Scope.CLASSIFY)
    with ExitStack() as stack:
        servers = two_services(stack, tmp_path, OSTEO_RATE_LIMIT_URL=redis.url)
        found = answers(servers, key, LIMIT)
        assert [answer.status for answer in found] == [200] * LIMIT + [429] * LIMIT
        assert found[-1].problem == "rate-limited"
        assert int(found[-1].headers["retry-after"]) > 0
        assert found[-1].headers["ratelimit-policy"] == f'"classify";q={LIMIT};w=86400'
        redis.stop()
        assert statuses(servers, key, LIMIT) == [200] * 2 * LIMIT
        redis.start()  # it has kept nothing, so the caller may begin anew
        wait_until(lambda: 429 in statuses(servers, key, LIMIT))
        for server in servers:
            events = [e for e in server.events() if e["event"] == "rate_limit_storage_unavailable"]
            assert len(events) == 1
            assert PASSWORD not in str(server.events())


@pytest.mark.exhaustive
def test_services_without_redis_count_for_themselves(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.json", "lis", Scope.CLASSIFY)
    with ExitStack() as stack:
        servers = two_services(stack, tmp_path)
        assert statuses(servers, key, LIMIT) == [200] * 2 * LIMIT
        assert statuses(servers, key, 1) == [429, 429]
