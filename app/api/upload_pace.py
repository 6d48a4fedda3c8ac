"""The time that a request body may take, and the rate at which it must arrive."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.core.errors import SlowUploadError, UploadTimeoutError
from app.settings import Settings


class UploadPace:
    """Ends uploads that take too long or stall, so that their bytes return to the budget.

    The rate is that of each piece of a body, not the average since its start: otherwise an upload
    that begins fast could then stall, with all its bytes in memory, until the time is over.
    """

    def __init__(self, settings: Settings, body_timeout_s: float | None = None) -> None:
        """Use the limits of the settings; without connection limits there is no minimum rate.

        Args:
            settings: of the service.
            body_timeout_s: for a body, in place of that of the settings; `math.inf` for none.
        """
        self._body_timeout_s = settings.body_timeout_s if body_timeout_s is None else body_timeout_s
        self._grace_s = settings.upload_grace_s if settings.connection_limits else math.inf
        self._min_bytes_per_s = settings.min_upload_bytes_per_s

    @asynccontextmanager
    async def enforce(self) -> AsyncIterator[Callable[[int], None]]:
        """Limit the time of a `with` block that receives a body.

        Yields:
            A function to call with the number of bytes of each chunk that arrived.

        Raises:
            SlowUploadError: the body arrived too slowly.
            UploadTimeoutError: the body did not arrive in time.
        """
        loop = asyncio.get_running_loop()
        last = loop.time() + self._body_timeout_s
        n_missing = piece_bytes = self._min_bytes_per_s * self._grace_s

        def deadline() -> float | None:
            at = min(last, loop.time() + self._grace_s)
            return at if math.isfinite(at) else None

        def count(n_bytes: int) -> None:
            nonlocal n_missing
            n_missing -= n_bytes
            if n_missing <= 0:
                n_missing = piece_bytes
                timeout.reschedule(deadline())

        try:
            async with asyncio.timeout_at(deadline()) as timeout:
                yield count
        except TimeoutError:
            if loop.time() >= last:
                raise UploadTimeoutError(self._body_timeout_s) from None
            raise SlowUploadError(self._min_bytes_per_s, self._grace_s) from None
