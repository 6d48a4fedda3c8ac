"""Watch the models folder and activate new versions, also those that are still being copied."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.bundle_errors import BundleError
from app.core.errors import ActivationError, InferenceError, OsteoError
from app.serving.rollout import Rollout
from app.telemetry.logs import LOGGER_NAME

MAX_BACKOFF_S: Final = 60.0
_MAX_FILES: Final = 10_000
_OF_THE_FOLDER: Final = (BundleError, InferenceError)
"""Causes that stay until somebody changes the folder; others, such as too little memory, pass."""

_Fingerprint = frozenset[tuple[str, int, int]]

_logger = logging.getLogger(LOGGER_NAME)


@dataclass(slots=True)
class _Failure:
    """A version that was not activated."""

    fingerprint: _Fingerprint
    is_of_the_folder: bool
    n_attempts: int = 1
    retry_at: float = 0.0
    is_given_up: bool = False


class VersionWatcher:
    """Looks for versions newer than any that has served; used from the event loop only.

    A version that fails is tried again while its files change, with growing pauses of up to
    `MAX_BACKOFF_S`. If it is still wrong when its files have stopped changing, one log line says
    so, and only a further change of its files leads to another try. A failure that is not the
    folder's, such as too little memory, is retried without a change. So is every version while no
    model serves.
    """

    def __init__(
        self,
        rollout: Rollout,
        period_s: float,
        on_activated: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; the versions that exist now are not new.

        Args:
            rollout: activates versions.
            period_s: seconds between looks.
            on_activated: called after each activation.
            clock: seconds that never go back.
        """
        self._rollout = rollout
        self._period_s = period_s
        self._on_activated = on_activated
        self._clock = clock
        self._floor = max(map(int, rollout.versions()), default=0)
        self._failures: dict[str, _Failure] = {}

    async def watch(self) -> None:
        """Look every period, until cancelled."""
        while True:
            await asyncio.sleep(self._period_s)
            try:
                await self.look()
            except Exception:  # an error must not end the watch
                _logger.exception("version_watch_failed")

    async def look(self) -> None:
        """Activate the newest version that can be; at most one."""
        versions = await asyncio.to_thread(self._rollout.versions)
        is_serving = self._rollout.active is not None
        floor = max(self._floor, self._rollout.newest_activated) if is_serving else 0
        candidates = [version for version in reversed(versions) if int(version) > floor]
        self._failures = {v: self._failures[v] for v in candidates if v in self._failures}
        for version in candidates:
            fingerprint = await asyncio.to_thread(_fingerprint, self._rollout.folder_of(version))
            if self._is_due(version, fingerprint) and await self._try(version, fingerprint):
                self._on_activated()
                return

    def _is_due(self, version: str, fingerprint: _Fingerprint) -> bool:
        failure = self._failures.get(version)
        if failure is None:
            return True
        has_changed = fingerprint != failure.fingerprint
        if has_changed and failure.is_given_up:
            failure.is_given_up, failure.n_attempts = False, 0
        if not has_changed and failure.is_of_the_folder and self._rollout.active is not None:
            if not failure.is_given_up:
                failure.is_given_up = True
                _logger.error("model_given_up", extra={"version": version})
            return False
        return self._clock() >= failure.retry_at

    async def _try(self, version: str, fingerprint: _Fingerprint) -> bool:
        try:
            await self._rollout.activate(version)
        except OsteoError as error:  # logged and counted by activate
            cause = error.__cause__ if isinstance(error, ActivationError) else error
            earlier = self._failures.get(version)
            n_attempts = 1 + (earlier.n_attempts if earlier else 0)
            pause_s = min(self._period_s * 2 ** min(n_attempts - 1, 20), MAX_BACKOFF_S)
            self._failures[version] = _Failure(
                fingerprint,
                isinstance(cause, _OF_THE_FOLDER),
                n_attempts,
                self._clock() + pause_s,
            )
            return False
        self._failures.pop(version, None)
        return True


def _fingerprint(folder: Path) -> _Fingerprint:
    """Name, size and modification time of every file; empty if the folder cannot be read."""
    found = set()
    try:
        for path in folder.rglob("*"):
            status = path.lstat()
            found.add((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
            if len(found) == _MAX_FILES:
                break
    except OSError:  # being copied, renamed or removed
        return frozenset()
    return frozenset(found)
