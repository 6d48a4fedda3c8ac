from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from app.core.tile_errors import CorruptTileError
from app.inference.classifier import Classifier
from app.inference.decoder import Decoder
from app.serving import lifecycle, worker_pool
from app.serving.readiness import MAX_CONSECUTIVE_FAILURES
from app.serving.service import TileService
from tests.bundles import FakeRuntime, plain_tile
from tests.conftest import MakeClient
from tests.servers import wait_until

TILE = plain_tile((200, 120, 160))


def service_of(client: TestClient) -> TileService:
    service: TileService = client.app.state.service  # type: ignore[attr-defined] # a FastAPI application
    return service


def classify(client: TestClient) -> Any:
    return client.post("/v1/classify", content=TILE)


@contextmanager
def blocked_threads(client: TestClient, runtime: FakeRuntime, n_threads: int = 2) -> Iterator[None]:
    """Worker threads work on a tile each during a `with` block."""
    leaves = threading.Event()

    def block(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        leaves.wait()
        return logits

    runtime.poison = block
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for _ in range(n_threads):
                pool.submit(classify, client)
            wait_until(
                lambda: (
                    f"osteo_tiles_in_flight {n_threads}.0" in metrics(client)
                    and "osteo_tiles_waiting 0.0" in metrics(client)
                )
            )
            yield
        finally:
            leaves.set()


def metrics(client: TestClient) -> str:
    return str(client.get("/metrics").text)


def reason(client: TestClient) -> str:
    return str(client.get("/readyz").json().get("reason", ""))


def test_batch_keeps_no_traceback_of_its_errors(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[CorruptTileError] = []

    def fail(_self: Decoder, _tile_bytes: bytes, _side_px: int) -> None:
        pixels = np.zeros((64, 64, 3), np.uint8)  # a traceback would keep this frame
        errors.append(CorruptTileError("PNG"))
        raise errors[-1] from OSError(pixels.shape)

    monkeypatch.setattr(Decoder, "decode", fail)
    answer = client.post("/v1/classify/batch", files=[("files", TILE)] * 3)
    assert answer.json()["n_problems"] == 3
    assert len(errors) == 3
    for error in errors:
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_explanation_is_drawn_in_the_turn_of_the_classification(
    client: TestClient, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    decode = Decoder.decode

    def note(self: Decoder, tile_bytes: bytes, side_px: int) -> Any:
        threads.append(threading.get_ident())
        return decode(self, tile_bytes, side_px)

    runtime.cam[0, 0] = 1.0
    monkeypatch.setattr(Decoder, "decode", note)
    n_submitted = count_submissions(client, monkeypatch)
    assert client.post("/v1/explain", content=TILE).status_code == 200
    assert len(n_submitted) == 1
    assert len(threads) == 2
    assert threads[0] == threads[1]


def count_submissions(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    pool = service_of(client)._lifecycle.require_model()._pool
    submit, submitted = pool.submit, list[None]()

    def count(*arguments: Any) -> Any:
        submitted.append(None)
        return submit(*arguments)

    monkeypatch.setattr(pool, "submit", count)
    return submitted


def test_expensive_tiles_fill_the_queue_before_cheap_ones(
    make_client: MakeClient, runtime: FakeRuntime
) -> None:
    client = make_client(max_queue_s=0.2)
    runtime.delay_s = 0.6
    assert classify(client).status_code == 200  # teaches that such a tile takes 0.6 s
    runtime.delay_s = 0.0
    with blocked_threads(client, runtime, n_threads=1):
        answer = classify(client)
        assert (answer.status_code, answer.json()["type"]) == (429, "/problems/queue-full")
        assert answer.json()["limit_s"] == 0.2
        assert int(answer.headers["Retry-After"]) >= 1


def test_time_of_a_failed_tile_is_learnt(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()

    def fail_slowly(_self: Decoder, _tile_bytes: bytes, _side_px: int) -> None:
        time.sleep(0.3)
        raise CorruptTileError("PNG")

    monkeypatch.setattr(Decoder, "decode", fail_slowly)
    assert classify(client).status_code == 422
    costs = service_of(client)._costs
    assert next(iter(costs._seen.values()))[1] >= 0.3


def test_stuck_worker_turns_readiness_off_until_it_returns(
    make_client: MakeClient, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "STUCK_AFTER_S", 0.1)
    monkeypatch.setattr(lifecycle, "_WATCH_THREADS_S", 0.02)
    client = make_client(request_timeout_s=0.5)
    with blocked_threads(client, runtime):
        wait_until(lambda: reason(client) == "2 worker threads are stuck on a tile")
        assert client.get("/livez").status_code == 200
        assert "osteo_ready 0.0" in metrics(client)
    wait_until(lambda: client.get("/readyz").status_code == 200)
    assert "osteo_ready 1.0" in metrics(client)


def test_unexpected_errors_turn_readiness_off_until_the_model_answers(
    client: TestClient, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "RECOVERY_PERIOD_S", 0.02)

    def fail(_logits: NDArray[np.float32]) -> NDArray[np.float32]:
        raise ZeroDivisionError

    runtime.poison = fail
    statuses = [classify(client).status_code for _ in range(MAX_CONSECUTIVE_FAILURES)]
    assert set(statuses) == {500}
    assert reason(client) == "the model failed 5 times in a row"
    time.sleep(0.1)  # the recovery survives the same error
    runtime.poison = lambda logits: logits
    wait_until(lambda: client.get("/readyz").status_code == 200)


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/explain"])
def test_too_little_memory_is_answered_with_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Classifier, "classify", fail)
    answer = client.post(path, content=TILE)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/out-of-memory")
    assert answer.headers["Retry-After"] == "1"


def test_batch_that_fails_leaves_no_tile_behind(
    client: TestClient, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[None] = []

    def fail(*_arguments: object) -> None:
        begun.append(None)
        time.sleep(0.2)
        raise MemoryError

    monkeypatch.setattr(Classifier, "classify", fail)
    answer = client.post("/v1/classify/batch", files=[("files", TILE)] * 20)
    assert answer.status_code == 503
    wait_until(lambda: "osteo_tiles_waiting 0.0" in metrics(client))
    assert len(begun) <= 3 * runtime.n_workers
    assert "osteo_tiles_in_flight 0.0" in metrics(client)
