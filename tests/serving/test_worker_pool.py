from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from app.serving.loading import open_classifier
from app.serving.worker_pool import ActiveModel
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.bundles import FakeRuntime, opener_of, plain_tile


class StartingPool(Executor):
    """A pool whose thread has taken its work but not yet run the first line of it."""

    def submit(self, work: Callable[..., Any], /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        self.work = work
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        return future


def test_tile_cancelled_as_it_starts_stops_waiting_once(
    models_dir: Path, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, pool, waiting = Settings(models_dir=models_dir), StartingPool(), [0]

    def count(step: int) -> None:
        waiting[0] += step

    async def cancel() -> None:
        classifier = open_classifier(settings, Metrics(), opener_of(runtime))
        model = ActiveModel(classifier, count, 1000)
        monkeypatch.setattr(model, "_pool", pool)
        task = asyncio.create_task(model.classify(plain_tile((1, 2, 3))))
        await asyncio.sleep(0)
        assert waiting == [1]
        task.cancel()
        await asyncio.wait((task,))
        pool.work()

    asyncio.run(cancel())
    assert waiting == [0]
