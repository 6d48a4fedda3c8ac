"""A real service under load that a real Prometheus scrapes, with the configuration of Compose."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from app.access.caller import OPEN_SCOPES
from app.access.key_changes import create_key
from benchmarks.dashboard.prometheus import Prometheus, running_prometheus
from tests.access.keys import bearer
from tests.conftest import RELEASED_MODELS
from tests.deploy.monitoring.programs import find_program
from tests.servers import RunningServer, running_server

N_TILES_OF_AN_INDEX = 6
FEW_TILES = f"from app.inference import drift; drift.MIN_TILES = {N_TILES_OF_AN_INDEX}"
"""An index of drift after these few tiles; the service itself waits for a hundred."""
GOLDEN_TILES = sorted((RELEASED_MODELS / "osteo-mobilenetv2" / "4" / "golden").glob("*.png"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service with a key that expires, and clients that send it good and bad requests."""
    folder = tmp_path_factory.mktemp("service")
    in_a_month = datetime.now(UTC) + timedelta(days=30)
    key = create_key(folder / "keys.json", "lis", OPEN_SCOPES, in_a_month).key
    with running_server(
        folder,
        before=FEW_TILES,
        OSTEO_MODELS_DIR=str(RELEASED_MODELS),
        OSTEO_KEYS_FILE=str(folder / "keys.json"),
        OSTEO_STATE_DIR=str(folder / "state"),
        OSTEO_METRICS_OPEN="true",
        OSTEO_AUDIT="on",
        OSTEO_REQUEST_TIMEOUT_S="60",
    ) as server:
        server.wait_until_ready()
        server.client.get(f"{server.url}/v1/jobs", headers=bearer(key), timeout=60)  # opens it
        with sending(server, key):
            yield server


@contextmanager
def sending(server: RunningServer, key: str) -> Iterator[None]:
    """Send requests until the block ends."""
    is_stopped = threading.Event()
    thread = threading.Thread(target=_send, args=(server, bearer(key), is_stopped))
    thread.start()
    try:
        yield
    finally:
        is_stopped.set()
        thread.join()


def _send(server: RunningServer, headers: dict[str, str], is_stopped: threading.Event) -> None:
    tiles = [file.read_bytes() for file in GOLDEN_TILES]
    batch = [("files", (f"{i}.png", tiles[i % len(tiles)])) for i in range(N_TILES_OF_AN_INDEX)]
    classify = f"{server.url}/v1/classify"
    # The first batch gives an index of drift. Later ones only keep the rates above 0.
    batches = itertools.chain([batch], itertools.repeat(batch[:2]))
    while not is_stopped.wait(0.5):
        answer = server.client.post(classify, content=tiles[0], headers=headers, timeout=60)
        assert answer.status_code == 200
        server.client.post(f"{classify}/batch", files=next(batches), headers=headers, timeout=60)
        server.client.post(classify, content=tiles[0][:400], headers=headers, timeout=60)
        server.client.post(classify, content=b"", headers=bearer("osteo_unknown"), timeout=60)


@pytest.fixture(scope="module")
def prometheus(
    service: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It scrapes the service every second."""
    find_program("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    target = service.url.partition("://")[2]
    with running_prometheus(folder, target, interval_s=1) as prometheus:
        yield prometheus
