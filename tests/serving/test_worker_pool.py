from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import DeadlineError, OutOfMemoryError, RuntimeUnavailableError
from app.serving.loading import open_classifier
from app.serving.worker_pool import STUCK_AFTER_S, ActiveModel, Deadline
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.bundles import FakeRuntime, opener_of

FAR = Deadline(math.inf, math.inf)
OpenModel = Callable[[], ActiveModel]


class StartingPool(Executor):
    """A pool whose thread has taken its work but not yet run the first line of it."""

    def submit(self, work: Callable[..., Any], /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        self.work = work
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        return future


@pytest.fixture
def waiting() -> list[int]:
    return [0]


@pytest.fixture
def open_model(models_dir: Path, runtime: FakeRuntime, waiting: list[int]) -> OpenModel:
    settings = Settings(models_dir=models_dir)

    def count(step: int) -> None:
        waiting[0] += step

    def open_() -> ActiveModel:
        classifier = open_classifier(settings, Metrics(), opener_of(runtime))
        return ActiveModel(classifier, count, 1000)

    return open_


def ignore(_work_s: float) -> None:
    pass


def test_tile_cancelled_as_it_starts_stops_waiting_once(
    open_model: OpenModel, waiting: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = StartingPool()

    async def cancel() -> None:
        model = open_model()
        monkeypatch.setattr(model, "_pool", pool)
        task = asyncio.create_task(model.run(lambda: None, FAR, 0, ignore))
        await asyncio.sleep(0)
        assert waiting == [1]
        task.cancel()
        await asyncio.wait((task,))
        pool.work()

    asyncio.run(cancel())
    assert waiting == [0]


def test_all_threads_run_before_the_first_tile(open_model: OpenModel, runtime: FakeRuntime) -> None:
    runtime.n_workers = 5
    before = set(threading.enumerate())  # those of other tests may end at any time

    async def scenario() -> int:
        model = open_model()
        n_threads = len(set(threading.enumerate()) - before)
        await model.close()
        return n_threads

    assert asyncio.run(scenario()) == 5


def test_threads_that_cannot_start_are_an_error(
    open_model: OpenModel, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.n_workers = 5
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_few(thread: threading.Thread) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    with pytest.raises(RuntimeUnavailableError, match="its 5 worker threads could be started"):
        open_model()
    for thread in started:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in started)


def test_work_that_cannot_finish_in_time_does_not_begin(
    open_model: OpenModel, waiting: list[int]
) -> None:
    begun: list[str] = []

    async def scenario() -> None:
        model, now = open_model(), time.monotonic()
        late = Deadline(now + 100, 1000)
        with pytest.raises(DeadlineError):
            await model.run(lambda: begun.append("too long"), late, 200, ignore)
        await model.run(lambda: begun.append("short"), late, 50, ignore)
        early = Deadline(now + 100, 100)
        await model.run(lambda: begun.append("with half of its limit left"), early, 200, ignore)
        await model.close()

    asyncio.run(scenario())
    assert begun == ["short", "with half of its limit left"]
    assert waiting == [0]


def fail() -> None:
    raise ZeroDivisionError


def test_time_of_failed_and_of_abandoned_work_is_learnt(open_model: OpenModel) -> None:
    learnt: list[float] = []
    leaves = threading.Event()

    async def scenario() -> None:
        model = open_model()
        with pytest.raises(ZeroDivisionError):
            await model.run(fail, FAR, 0, learnt.append)
        assert len(learnt) == 1
        abandoned = asyncio.create_task(model.run(leaves.wait, FAR, 0, learnt.append))
        await asyncio.sleep(0.05)
        abandoned.cancel()
        await asyncio.wait((abandoned,))
        leaves.set()
        await model.close()

    asyncio.run(scenario())
    assert len(learnt) == 2
    assert learnt[1] > 0.01


def test_thread_is_stuck_until_it_returns(open_model: OpenModel) -> None:
    leaves, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        leaves.wait()

    async def scenario() -> list[int]:
        model = open_model()
        overdue = Deadline(time.monotonic() - STUCK_AFTER_S, 0.0)
        working = asyncio.create_task(model.run(work, overdue, -math.inf, ignore))
        await asyncio.to_thread(begun.wait)
        counts = [model.n_stuck_threads()]
        leaves.set()
        await working
        counts.append(model.n_stuck_threads())
        await model.close()
        return counts

    assert asyncio.run(scenario()) == [1, 0]


def exhaust_memory() -> None:
    raise MemoryError


def test_too_little_memory_is_an_error_of_its_own(open_model: OpenModel) -> None:
    async def scenario() -> None:
        model = open_model()
        with pytest.raises(OutOfMemoryError):
            await model.run(exhaust_memory, FAR, 0, ignore)
        await model.close()

    asyncio.run(scenario())
