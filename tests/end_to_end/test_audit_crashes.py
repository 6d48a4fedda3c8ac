"""What a service answered with 200 is in its audit exactly once, whatever happens to either."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
import sqlalchemy

from app.audit.opening import make_store
from app.audit.verify import verify
from tests.access.keys import make_key
from tests.audit.conftest import cluster, postgresql_url, small_disk
from tests.audit.postgresql import Cluster
from tests.audit.samples import stored
from tests.end_to_end.exchanges import TILE
from tests.end_to_end.services import audited, ready_service, require_whole_audit
from tests.servers import RunningServer, wait_until

__all__ = ["cluster", "postgresql_url", "small_disk"]
N_CLIENTS = 4
N_BEFORE = 8


class Tiles:
    """Clients that send one tile after the other, each with a request id of its own.

    Attributes:
        answered: request ids that were answered with 200.
        refused: request ids that were answered with 503, and the problem.
        others: other answers, which are faults.
    """

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._prefix = f"{server.process.pid}"
        self._is_over = threading.Event()
        self.answered: list[str] = []
        self.refused: dict[str, str] = {}
        self.others: list[str] = []

    @contextmanager
    def sent(self) -> Iterator[None]:
        """Send tiles meanwhile."""
        threads = [threading.Thread(target=self._send, args=(n,)) for n in range(N_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def wait_for(self, n_more: int) -> None:
        """Wait until that many more tiles are answered with 200."""
        n_now = len(self.answered)
        wait_until(lambda: len(self.answered) >= n_now + n_more)

    def wait_for_refusals(self, n_more: int) -> None:
        n_now = len(self.refused)
        wait_until(lambda: len(self.refused) >= n_now + n_more)

    def _send(self, client_number: int) -> None:
        number = 0
        client, url = self._server.client, f"{self._server.url}/v1/classify"
        while not self._is_over.is_set():
            request_id = f"{self._prefix}-{client_number}-{number}"
            number += 1
            headers = {"X-Request-ID": request_id, "Content-Type": "image/jpeg"}
            # The service was killed: nobody knows what became of this tile.
            with suppress(httpx2.TransportError):
                answer = client.post(url, content=TILE, headers=headers, timeout=60)
                self._note(request_id, answer)

    def _note(self, request_id: str, answer: httpx2.Response) -> None:
        if answer.status_code == 200:
            self.answered.append(request_id)
        elif answer.status_code == 503 and "Retry-After" in answer.headers:
            self.refused[request_id] = answer.json()["type"]
        else:
            self.others.append(answer.text)


def require_recorded_once(url: str, *clients: Tiles) -> list[str]:
    """Check the audit: each answer once, no refused tile as an answer, and whole chains.

    Returns:
        The events of all records.
    """
    with closing(make_store(url)) as store:
        assert verify(store).findings == []
    records = stored(url)
    times = Counter(record["request_id"] for record in records if record["event"] == "answer")
    assert set(times.values()) <= {1}, "a record is there twice"
    for tiles in clients:
        assert [found for found in tiles.answered if found not in times] == []
        assert times.keys().isdisjoint(tiles.refused), "an answer was recorded that nobody got"
        assert set(tiles.refused.values()) <= {"/problems/audit-unavailable"}
        assert tiles.others == []
    return [record["event"] for record in records]


@contextmanager
def locked_audit(url: str) -> Iterator[None]:
    """Nobody else can write the audit meanwhile."""
    lock = "BEGIN IMMEDIATE" if url.startswith("sqlite") else "LOCK TABLE audit"
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql(lock)
        yield
    engine.dispose()


@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.exhaustive)]
)
def test_kill_of_the_service_loses_and_doubles_nothing(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/audit.sqlite3"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    environ = {"OSTEO_AUDIT": "required", "OSTEO_AUDIT_URL": url}
    with ready_service(tmp_path, **environ) as server:
        before = Tiles(server)
        with before.sent():
            before.wait_for(N_BEFORE)
            with locked_audit(url):  # an answer would be one too early
                wait_until(lambda: server.metric("osteo_audit_records_waiting") > 0)
                server.stop(signal.SIGKILL)
    with ready_service(tmp_path, **environ) as server:
        after = Tiles(server)
        with after.sent():
            after.wait_for(N_BEFORE)
        assert server.stop() == 0
    events = require_recorded_once(url, before, after)
    assert (events.count("start"), events.count("stop")) == (2, 1)


def test_kill_right_after_problems_loses_none_of_an_identified_caller(tmp_path: Path) -> None:
    lis = make_key(tmp_path / "state" / "keys.json", "lis")
    sent = [
        ("POST", "/v1/classify", 415),
        ("POST", "/v1/models/rollback", 403),
        ("GET", "/nothing", 404),
    ]
    with ready_service(tmp_path, OSTEO_AUDIT="required") as server:
        for method, path, status in sent:
            headers = lis | {"Content-Type": "image/jpeg"}
            answer = server.client.request(
                method, f"{server.url}{path}", content=b"no tile", headers=headers
            )
            assert answer.status_code == status
        server.stop(signal.SIGKILL)
    require_whole_audit(tmp_path)
    records = [record for record in audited(tmp_path) if record["event"] == "refusal"]
    assert [record["status"] for record in records] == [status for _, _, status in sent]
    assert {record["caller"] for record in records} == {"lis"}


@pytest.mark.exhaustive
def test_crash_of_postgresql_refuses_and_recovers_by_itself(
    tmp_path: Path, cluster: Cluster, postgresql_url: str
) -> None:
    environ = {"OSTEO_AUDIT": "required", "OSTEO_AUDIT_URL": postgresql_url}
    with ready_service(tmp_path, **environ) as server:
        tiles = Tiles(server)
        with tiles.sent():
            tiles.wait_for(N_BEFORE)
            cluster.stop("immediate")
            tiles.wait_for_refusals(N_CLIENTS)
            cluster.start()
            tiles.wait_for(N_BEFORE)
        assert server.metric("osteo_audit_failing") == 0
        assert server.stop() == 0
    assert "interruption" in require_recorded_once(postgresql_url, tiles)


@pytest.mark.exhaustive
def test_full_disk_refuses_and_recovers_by_itself(tmp_path: Path, small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/audit.sqlite3"
    environ = {"OSTEO_AUDIT": "required", "OSTEO_AUDIT_URL": url}
    with ready_service(tmp_path, **environ) as server:
        tiles = Tiles(server)
        with tiles.sent():
            tiles.wait_for(2)
            filler = small_disk / "filler"
            with filler.open("wb", buffering=0) as stream, suppress(OSError):
                while True:
                    stream.write(bytes(512))
            tiles.wait_for_refusals(N_CLIENTS)
            filler.unlink()
            tiles.wait_for(N_BEFORE)
        assert server.stop() == 0
    require_recorded_once(url, tiles)


def test_audit_that_is_on_holds_up_no_answer_while_postgresql_is_away(
    tmp_path: Path, cluster: Cluster, postgresql_url: str
) -> None:
    environ = {"OSTEO_AUDIT": "on", "OSTEO_AUDIT_URL": postgresql_url}
    with ready_service(tmp_path, **environ) as server:
        tiles = Tiles(server)
        with tiles.sent():
            tiles.wait_for(N_BEFORE)
            cluster.stop("immediate")
            wait_until(lambda: server.metric("osteo_audit_failing") == 1)
            tiles.wait_for(N_BEFORE)
            cluster.start()
            wait_until(lambda: server.metric("osteo_audit_failing") == 0)
        assert server.stop() == 0
        events = [event["event"] for event in server.events()]
    assert tiles.refused == {}
    require_recorded_once(postgresql_url, tiles)
    assert "audit_failing" in events
    assert events.index("audit_failing") < events.index("audit_recovered")
