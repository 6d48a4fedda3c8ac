"""Where rate limits are counted: in this process, or in Redis for several replicas."""

from __future__ import annotations

import math
import time
from typing import Any, Final

import limits.aio.storage
import limits.storage

SWEEP_EVERY_S: Final = 10.0
REDIS_WITHIN_S: Final = 0.25
"""A request waits this long for Redis, at most: for a connection and for both answers."""
_MAX_CONNECTIONS: Final = 32


class _Sweep:
    """Stands in for the timer with which the library removes expired counters."""

    def __init__(self) -> None:
        self.function: Any = None
        self._done_at_s = -math.inf

    def is_alive(self) -> bool:
        return time.monotonic() < self._done_at_s + SWEEP_EVERY_S

    def start(self) -> None:
        self._done_at_s = time.monotonic()
        self.function()


class ProcessStorage(limits.storage.MemoryStorage):
    """Counts in the memory of this process, without threads.

    The library removes expired counters in a `threading.Timer` that it starts anew every 10 ms
    while requests come in. Starting the thread takes longer than all the rest, 0.3 ms, so the
    request that finds it due removes them itself, every 10 s: about 1 us a counter.
    """

    STORAGE_SCHEME = ["osteo-memory"]  # noqa: RUF012 - the library declares it so

    @property
    def timer(self) -> Any:
        """What the library asks whether expired counters are removed already."""
        return self.__dict__.setdefault("_sweep", _Sweep())

    @timer.setter
    def timer(self, timer: Any) -> None:
        self.timer.function = timer.function


class RedisStorage:
    """Counts in Redis.

    Attributes:
        counters: for the strategies of the library.
    """

    def __init__(self, url: str) -> None:
        """Connect with the first request.

        Args:
            url: `redis://`, `rediss://` or `unix://`.

        Raises:
            ValueError: the URL is wrong.
            limits.errors.ConfigurationError: the package redis is missing.
        """
        import redis.asyncio
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # `take_shared` limits the time of everything together, so no step has a limit of its own,
        # and none is tried twice.
        self._pool: Any = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=None,
            socket_connect_timeout=None,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
        self.counters = limits.aio.storage.RedisStorage(
            "async+redis://",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="osteo",
            connection_pool=self._pool,  # type: ignore[arg-type] # its documentation allows it
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()
