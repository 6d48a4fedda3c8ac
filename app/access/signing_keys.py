"""The keys that sign an identity provider's tokens: when they are fetched, and how long kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.access.identity_provider import IdentityDocumentError, IdentityProvider
from app.access.json_web_key import SigningKey, read_signing_key
from app.core.access_errors import IdentityProviderError
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.tracing import carried

if TYPE_CHECKING:
    from jwt.types import JWKDict

REFRESH_S: Final = 300.0
"""How often keys are fetched without a reason: a key that the provider has removed is accepted for
this long, plus 10 %, while the provider answers."""
_FIRST_RETRY_S: Final = 1.0
_BURST_FETCHES: Final = 3
"""Fetches for unknown keys that may follow each other at once, as when a provider rotates several
keys; after them one every `_FETCH_EVERY_S`, whatever tokens arrive."""
_FETCH_EVERY_S: Final = 3.0
_MAX_MISSING: Final = 256
_MAX_KEYS: Final = 256

_logger = logging.getLogger(LOGGER_NAME)


@dataclass(frozen=True, slots=True)
class _Fetched:
    documents: list[JWKDict]
    keys: tuple[SigningKey, ...]


class SigningKeys:
    """Keeps the provider's keys while it is away, and fetches them again for an unknown one.

    Belongs to the thread of one event loop; only the fetch itself runs in another thread.

    Args:
        provider: where keys come from.
        timeout_s: how long a caller waits for a fetch.
        refresh_s: how often keys are fetched in the background.
        on_change: called when a key was added, replaced or removed.
        monotonic: clock of the limit on fetches, in seconds.
    """

    def __init__(
        self,
        provider: IdentityProvider,
        timeout_s: float,
        on_change: Callable[[], None],
        refresh_s: float = REFRESH_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._timeout_s, self._refresh_s = timeout_s, refresh_s
        self._on_change = on_change
        self._monotonic = monotonic
        self._fetched = _Fetched([], ())
        self._missing: OrderedDict[str | None, float] = OrderedDict()
        self._budget, self._budget_at = float(_BURST_FETCHES), monotonic()
        self._fetch: asyncio.Task[bool] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._last_fetch_ok = False
        self._fetched_at: float | None = None
        self.n_fetches = 0
        self.n_failed_fetches = 0

    @property
    def age_s(self) -> float | None:
        """Seconds since keys were last fetched; None if they never were."""
        return None if self._fetched_at is None else self._monotonic() - self._fetched_at

    def find(self, kid: str | None) -> Sequence[SigningKey]:
        """Known keys of this name, or all of them if the token names none."""
        keys = self._fetched.keys
        return keys if kid is None else [key for key in keys if key.kid == kid]

    async def fetch_for(self, kid: str | None) -> None:
        """Fetch the keys because this one is unknown; concurrent calls share one fetch.

        Does nothing if this key was missing just now, or if the limit on fetches is reached and the
        provider has answered the last one, so that what is known is seconds old.

        Raises:
            IdentityProviderError: the provider does not answer.
        """
        joins = self._fetch is not None
        if not joins:
            if self._monotonic() - self._missing.get(kid, -math.inf) < _FETCH_EVERY_S:
                return
            if not self._take_from_budget():
                if self._last_fetch_ok:
                    return
                raise IdentityProviderError(math.ceil(_FETCH_EVERY_S))
        fetch = self._shared_fetch()
        await asyncio.wait({fetch}, timeout=self._timeout_s)
        if not fetch.done() or fetch.cancelled() or not fetch.result():
            raise IdentityProviderError(math.ceil(_FETCH_EVERY_S))
        # A fetch that had begun before this call may be older than the key.
        if not joins and not self.find(kid):
            self._missing[kid] = self._monotonic()
            self._missing.move_to_end(kid)
            if len(self._missing) > _MAX_MISSING:
                self._missing.popitem(last=False)

    async def start(self) -> None:
        """Begin to fetch in the background; returns before the first answer."""
        self._refreshing = asyncio.create_task(self._refresh())

    async def close(self) -> None:
        """Stop fetching. A fetch in progress is left to its daemon thread."""
        tasks = [task for task in (self._refreshing, self._fetch) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            fetch = self._shared_fetch()
            await asyncio.wait({fetch})
            pause_s = self._refresh_s if fetch.result() else min(retry_s, self._refresh_s)
            retry_s = _FIRST_RETRY_S if fetch.result() else 2 * pause_s
            # Replicas that were started together do not ask together.
            await asyncio.sleep(pause_s * random.uniform(0.9, 1.1))  # noqa: S311 - no secret

    def _take_from_budget(self) -> bool:
        now = self._monotonic()
        earned = (now - self._budget_at) / _FETCH_EVERY_S
        self._budget, self._budget_at = min(self._budget + earned, _BURST_FETCHES), now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def _shared_fetch(self) -> asyncio.Task[bool]:
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._fetch_once())
            self._fetch.add_done_callback(self._forget_fetch)
        return self._fetch

    def _forget_fetch(self, _done: asyncio.Task[bool]) -> None:
        self._fetch = None

    async def _fetch_once(self) -> bool:
        self.n_fetches += 1
        fetched = await _in_daemon_thread(self._fetch_keys)
        self._last_fetch_ok = fetched is not None
        if fetched is None:
            self.n_failed_fetches += 1
            return False
        self._fetched_at = self._monotonic()
        if fetched.documents != self._fetched.documents:
            self._fetched = fetched
            self._on_change()
            _logger.info("signing_keys_changed", extra={"n_keys": len(fetched.keys)})
        return True

    def _fetch_keys(self) -> _Fetched | None:
        try:
            documents = self._provider.fetch_keys()[:_MAX_KEYS]
        except IdentityDocumentError as error:
            _log_failure(str(error))
            return None
        keys = tuple(key for key in map(read_signing_key, documents) if key is not None)
        if not keys:
            _log_failure("the provider publishes no key that can verify tokens")
            return None
        return _Fetched(documents, keys)


def _log_failure(error: str) -> None:
    _logger.warning("identity_provider_failed", extra={"error": error})


def _in_daemon_thread(function: Callable[[], _Fetched | None]) -> asyncio.Future[_Fetched | None]:
    """Run a function that blocks; an unexpected error is logged like any thread's, and gives None.

    Not `asyncio.to_thread`, nor any executor: the process would wait at its end for a provider that
    does not answer, or for the resolver, which has no timeout.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Fetched | None] = loop.create_future()

    def deliver(fetched: _Fetched | None) -> None:
        if not future.done():  # the service may have stopped waiting
            future.set_result(fetched)

    def run() -> None:
        fetched = None
        try:
            fetched = function()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(deliver, fetched)

    try:
        threading.Thread(target=carried(run), name="signing-keys", daemon=True).start()
    except RuntimeError:  # the system allows no further thread
        _log_failure("no thread could be started")
        future.set_result(None)
    return future
