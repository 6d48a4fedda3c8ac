"""How often each caller may send requests, by scope."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from app.access.caller import Caller, Scope
from app.core.access_errors import RateLimitedError
from app.core.errors import SettingsError
from app.telemetry.logs import LOGGER_NAME

if TYPE_CHECKING:
    from app.access.limit_storage import RedisStorage

LOG_EVERY_S: Final = 60.0
ASK_AGAIN_AFTER_S: Final = 1.0
"""Redis is not asked for this long after it failed, so that not every request waits for it."""
_WINDOWS_S: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_LIMIT: Final = re.compile(r"([a-z:]+)=([1-9][0-9]{0,8})/(second|minute|hour|day)")
_FORM: Final = (
    "Write limits as SCOPE=NUMBER/UNIT, separated by commas, such as "
    "classify=600/minute,explain=60/minute; the unit is second, minute, hour or day."
)
_URL_SCHEMES: Final = ("redis://", "rediss://", "unix://")

_logger = logging.getLogger(LOGGER_NAME)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller may still send.

    Attributes:
        scope: what the limit is for.
        limit: requests within the window.
        window_s: length of the window in seconds.
        remaining: requests that may follow at once.
        reset_s: whole seconds, at least 1, until more than `remaining` may follow.
    """

    scope: Scope
    limit: int
    window_s: int
    remaining: int
    reset_s: int


def rate_limit_headers(allowance: Allowance) -> dict[str, str]:
    """Headers that tell clients about a limit: draft-ietf-httpapi-ratelimit-headers-11 (2026).

    Returns:
        `RateLimit-Policy` with the quota `q` in a window of `w` seconds, and `RateLimit` with `r`
        remaining requests and the `t` seconds until there are more. Both name the policy by the
        scope.
    """
    policy = f'"{allowance.scope.value}"'
    return {
        "RateLimit-Policy": f"{policy};q={allowance.limit};w={allowance.window_s}",
        "RateLimit": f"{policy};r={allowance.remaining};t={allowance.reset_s}",
    }


class RateLimits:
    """Limits by caller and scope, counted in this process or in Redis.

    Both use the sliding window counter of the package limits: the requests of the current window,
    plus the share of the previous one that a window ending now still covers. Unlike a fixed window,
    it does not grant a whole quota anew at a certain second, when all callers would come at once: a
    caller who used up the quota gets it back request by request, and `Retry-After` is short. An
    exact log of all requests would keep up to 999,999,999 times for each caller, and in Redis it
    would compare the clocks of the replicas. The price: within a window that straddles two, a
    caller whose requests came in bursts may get more than the quota, less than twice as many.

    Attributes:
        is_on: whether there is any limit.
        is_shared: whether Redis counts; then call `take_shared`, else `take`.
        n_unavailable: requests that were allowed because Redis did not answer.
    """

    def __init__(
        self,
        limits_by_scope: Mapping[Scope, Any],
        redis: RedisStorage | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use `parse`.

        Args:
            limits_by_scope: items of the package limits.
            redis: counts for all replicas.
            monotonic: seconds of a clock that is never set.
        """
        self._limits = dict(limits_by_scope)
        self._redis = redis
        self._monotonic = monotonic
        self.is_on = bool(self._limits)
        self.is_shared = redis is not None
        self.n_unavailable = 0
        self._ask_at_s = -math.inf
        self._log_at_s = -math.inf
        if self.is_on:
            from limits.aio.strategies import SlidingWindowCounterRateLimiter as SharedWindow
            from limits.strategies import SlidingWindowCounterRateLimiter as Window

            from app.access.limit_storage import ProcessStorage

            self._window = Window(ProcessStorage())
            self._shared_window = SharedWindow(redis.counters) if redis else None

    @classmethod
    def parse(cls, text: str | None, url: str | None) -> Self:
        """Read the settings.

        Args:
            text: `OSTEO_RATE_LIMITS`, such as `classify=600/minute,explain=60/minute`; no limits if
                None.
            url: `OSTEO_RATE_LIMIT_URL`: the Redis in which replicas count together.

        Raises:
            SettingsError: one of them is wrong, or a package is missing.
        """
        numbers = _parse_limits(text) if text is not None else {}
        if not numbers:
            return cls({})
        try:
            import limits
        except ImportError as error:
            raise _missing("OSTEO_RATE_LIMITS", "limits", "access") from error
        makers = {
            1: limits.RateLimitItemPerSecond,
            60: limits.RateLimitItemPerMinute,
            3600: limits.RateLimitItemPerHour,
            86_400: limits.RateLimitItemPerDay,
        }
        items = {scope: makers[window_s](limit) for scope, (limit, window_s) in numbers.items()}
        return cls(items, _open_redis(url) if url is not None else None)

    def take(self, caller: Caller, scope: Scope) -> Allowance | None:
        """Count a request in this process.

        Returns:
            What is left; None if the scope has no limit.

        Raises:
            RateLimitedError: the caller has used up the limit; the request is not counted.
        """
        item = self._limits.get(scope)
        if item is None:
            return None
        identity = _identity(caller, scope)
        is_allowed = self._window.hit(item, *identity)
        reset_at_s, remaining = self._window.get_window_stats(item, *identity)
        return self._allowance(scope, is_allowed, reset_at_s, remaining)

    async def take_shared(self, caller: Caller, scope: Scope) -> Allowance | None:
        """Count a request in Redis, for all replicas.

        Returns:
            What is left; None if the scope has no limit, or Redis does not answer: it is better to
            serve without limits for a while than not to serve.

        Raises:
            RateLimitedError: the caller has used up the limit; the request is not counted.
        """
        item = self._limits.get(scope)
        if item is None or self._shared_window is None:
            return None
        if self._monotonic() < self._ask_at_s:
            self._count_unavailable(None)
            return None
        from limits.errors import StorageError

        from app.access.limit_storage import REDIS_WITHIN_S

        identity = _identity(caller, scope)
        try:
            async with asyncio.timeout(REDIS_WITHIN_S):
                is_allowed = await self._shared_window.hit(item, *identity)
                stats = await self._shared_window.get_window_stats(item, *identity)
        except (StorageError, TimeoutError, OSError) as error:
            self._ask_at_s = self._monotonic() + ASK_AGAIN_AFTER_S
            self._count_unavailable(error)
            return None
        return self._allowance(scope, is_allowed, stats.reset_time, stats.remaining)

    def refused(self, error: RateLimitedError) -> Allowance:
        """What the headers of a refusal say."""
        scope = Scope(error.scope)
        item = self._limits[scope]
        return Allowance(scope, item.amount, item.get_expiry(), 0, error.retry_after_s)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.close()

    def _allowance(
        self, scope: Scope, is_allowed: bool, reset_at_s: float, remaining: int
    ) -> Allowance:
        item = self._limits[scope]
        # The library's time is that of `time.time`. Whole seconds, rounded up; one more if they are
        # whole already, since exactly at the end of a window the whole quota still counts.
        reset_s = max(1, math.floor(reset_at_s - time.time()) + 1)
        if not is_allowed:
            limit = f"{item.amount}/{item.GRANULARITY.name}"
            raise RateLimitedError(scope.value, limit, reset_s)
        return Allowance(scope, item.amount, item.get_expiry(), remaining, reset_s)

    def _count_unavailable(self, error: Exception | None) -> None:
        self.n_unavailable += 1
        now_s = self._monotonic()
        if error is not None and now_s >= self._log_at_s:
            self._log_at_s = now_s + LOG_EVERY_S
            # Only the kind of the error: its text may hold the URL and its password.
            cause = error.__cause__ or error
            fields = {"reason": type(cause).__name__, "n_allowed": self.n_unavailable}
            _logger.warning("rate_limit_storage_unavailable", extra=fields)


def _identity(caller: Caller, scope: Scope) -> tuple[str, str, str]:
    # Kind and name: a token whose subject is called like a key is another caller.
    return scope.value, caller.kind, caller.name


def _parse_limits(text: str) -> dict[Scope, tuple[int, int]]:
    """Requests and seconds by scope."""
    numbers: dict[Scope, tuple[int, int]] = {}
    for part in text.split(","):
        match = _LIMIT.fullmatch(part.strip())
        if match is None:
            raise SettingsError(f"OSTEO_RATE_LIMITS: {part.strip()!r} is not a limit. {_FORM}")
        name, number, unit = match.groups()
        if name not in list(Scope):
            known = ", ".join(Scope)
            raise SettingsError(f"OSTEO_RATE_LIMITS: {name!r} is not a scope; those are {known}.")
        if Scope(name) in numbers:
            raise SettingsError(f"OSTEO_RATE_LIMITS limits the scope {name!r} twice.")
        numbers[Scope(name)] = int(number), _WINDOWS_S[unit]
    return numbers


def _open_redis(url: str) -> RedisStorage:
    """Errors never repeat the URL, which may hold a password."""
    if not url.startswith(_URL_SCHEMES):
        schemes = ", ".join(_URL_SCHEMES)
        raise SettingsError(f"OSTEO_RATE_LIMIT_URL must begin with one of {schemes}.")
    from app.access.limit_storage import RedisStorage

    try:
        return RedisStorage(url)
    except ImportError as error:
        raise _missing("OSTEO_RATE_LIMIT_URL", "redis", "redis") from error
    except ValueError:
        raise SettingsError(
            "OSTEO_RATE_LIMIT_URL is not a valid URL. Write it as redis://HOST:6379/0."
        ) from None


def _missing(setting: str, package: str, extra: str) -> SettingsError:
    return SettingsError(
        f"{setting} needs the package {package}: pip install 'osteo-tiles[{extra}]'."
    )
