from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.core.errors import ActivationError
from app.core.manifest import LITERT_NAME, MANIFEST_NAME
from app.inference.classifier import Classifier
from app.serving.loading import open_classifier
from app.serving.rollout import Rollout
from app.serving.version_watcher import MAX_BACKOFF_S, VersionWatcher
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.bundles import MODEL_NAME, FakeRuntime, build_bundle, opener_of

PERIOD_S = 1.0


class Watched:
    """A watcher over a models folder, with a clock that the test sets."""

    def __init__(self, models_dir: Path) -> None:
        self.folder = models_dir / MODEL_NAME
        self.tried: list[str] = []
        self.error: Callable[[], BaseException] | None = None
        self.now = 0.0
        self.n_activated = 0
        self._settings, self._metrics = Settings(models_dir=models_dir), Metrics()
        self.rollout = Rollout(self._settings, self._metrics, self._open)
        self.watcher = VersionWatcher(self.rollout, PERIOD_S, self._count, lambda: self.now)

    def _count(self) -> None:
        self.n_activated += 1

    def _open(self, version: str | None) -> Classifier:
        self.tried.append(version or "newest")
        if self.error is not None:
            raise self.error()
        opener = opener_of(FakeRuntime())
        return open_classifier(self._settings, self._metrics, opener, version)

    @property
    def version(self) -> str | None:
        active = self.rollout.active
        return None if active is None else active.classifier.identity.version

    def run(self, scenario: Callable[[], Awaitable[None]]) -> None:
        async def run_and_close() -> None:
            await scenario()
            await self.rollout.close()

        asyncio.run(run_and_close())

    async def look(self, after_s: float = PERIOD_S) -> None:
        self.now += after_s
        await self.watcher.look()


@pytest.fixture
def watched(models_dir: Path) -> Watched:
    return Watched(models_dir)


def half_copied(folder: Path, version: str = "2") -> tuple[Path, bytes]:
    """A version whose model file is still missing, and that file's content."""
    root = build_bundle(folder.parent, version)
    content = (root / LITERT_NAME).read_bytes()
    (root / LITERT_NAME).unlink()
    return root, content


def test_half_copied_version_is_activated_when_it_is_complete(watched: Watched) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        root, content = half_copied(watched.folder)
        await watched.look()
        (root / LITERT_NAME).write_bytes(content[:4])
        await watched.look()
        assert watched.version == "1"
        (root / LITERT_NAME).write_bytes(content)
        await watched.look(2 * PERIOD_S)
        assert (watched.version, watched.n_activated) == ("2", 1)

    watched.run(scenario)


def test_folder_without_manifest_is_tried_again(watched: Watched) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        root = build_bundle(watched.folder.parent, "2")
        manifest = (root / MANIFEST_NAME).read_bytes()
        (root / MANIFEST_NAME).unlink()
        await watched.look()
        (root / MANIFEST_NAME).write_bytes(manifest)
        await watched.look()
        assert watched.version == "2"

    watched.run(scenario)


def test_stable_wrong_version_is_given_up_with_one_line(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        half_copied(watched.folder)
        for _ in range(20):
            await watched.look(MAX_BACKOFF_S)

    with caplog.at_level(logging.INFO):
        watched.run(scenario)
    assert watched.tried == ["1", "2"]
    assert [r.message for r in caplog.records].count("model_given_up") == 1


def test_version_that_was_given_up_is_tried_after_a_change(watched: Watched) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        root, content = half_copied(watched.folder)
        await watched.look()
        await watched.look()
        (root / LITERT_NAME).write_bytes(content)
        await watched.look()
        assert watched.version == "2"

    watched.run(scenario)


def test_change_of_time_alone_counts(watched: Watched) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        root, _ = half_copied(watched.folder)
        await watched.look()
        os.utime(root / MANIFEST_NAME, (1, 1))
        await watched.look()

    watched.run(scenario)
    assert watched.tried == ["1", "2", "2"]


def test_changing_version_is_tried_with_growing_pauses(watched: Watched) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        root, _ = half_copied(watched.folder)
        for second in range(600):
            (root / "growing").write_bytes(b"x" * second)
            await watched.look()

    watched.run(scenario)
    # At 1, 2, 4, 8, 16, 32 and 64 s, then every minute.
    assert watched.tried.count("2") == 7 + (600 - 64) // 60


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, OSError, KeyError, RecursionError])
def test_error_that_is_not_the_folders_is_retried_without_a_change(
    watched: Watched, error: type[Exception]
) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        build_bundle(watched.folder.parent, "2")
        watched.error = error
        for _ in range(3):
            await watched.look()
        assert watched.version == "1"
        watched.error = None
        await watched.look(MAX_BACKOFF_S)
        assert watched.version == "2"

    watched.run(scenario)


def test_every_version_is_tried_while_none_serves(watched: Watched) -> None:
    async def scenario() -> None:
        watched.error = MemoryError
        with pytest.raises(ActivationError):
            await watched.rollout.activate(None)
        await watched.look()
        watched.error = None
        await watched.look()
        assert watched.version == "1"

    watched.run(scenario)


def test_older_valid_version_is_activated_beside_a_wrong_newer_one(watched: Watched) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        root, content = half_copied(watched.folder, "3")
        build_bundle(watched.folder.parent, "2")
        await watched.look()
        assert watched.version == "2"
        (root / LITERT_NAME).write_bytes(content)
        await watched.look()
        assert watched.version == "3"

    watched.run(scenario)


def test_version_activated_by_hand_is_not_new(watched: Watched) -> None:
    async def scenario() -> None:
        await watched.rollout.activate("1")
        build_bundle(watched.folder.parent, "2")
        await watched.rollout.activate("2")
        await watched.rollout.roll_back()
        await watched.look()
        assert watched.version == "1"

    watched.run(scenario)


def test_watch_survives_any_error(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [MemoryError(), OSError(), ZeroDivisionError()]

    async def scenario() -> None:
        all_raised = asyncio.Event()

        async def look() -> None:
            if errors:
                raise errors.pop()
            all_raised.set()

        watched.watcher.look = look  # type: ignore[method-assign] # a look that fails at first
        task = asyncio.create_task(watched.watcher.watch())
        await all_raised.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    watched.watcher._period_s = 0.001
    with caplog.at_level(logging.ERROR):
        watched.run(scenario)
    assert [r.message for r in caplog.records].count("version_watch_failed") == 3
