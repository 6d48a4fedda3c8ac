"""The token of the routes that change which version is served; wrong ones are answered late."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from fastapi.security import HTTPAuthorizationCredentials
from pydantic import SecretStr

from app.core.errors import AdminDeniedError
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

FIRST_DELAY_S: Final = 0.1
"""Before the answer to a wrong token; doubled by every other wrong one of the last minute."""
MAX_DELAY_S: Final = 5.0
RECENT_S: Final = 60.0
_MAX_DOUBLINGS: Final = 6  # 6.4 s, more than the maximum

_logger = logging.getLogger(LOGGER_NAME)


class AdminAuthentication:
    """Checks the administrator's token, and delays the answers to guesses.

    The delay counts the wrong tokens of all clients: behind a proxy they share an address. A right
    token is never delayed, so guesses cannot lock the administrator out.
    """

    def __init__(
        self,
        token: SecretStr | None,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Deny everything if there is no token.

        Args:
            token: the administrator's token.
            metrics: counts wrong tokens.
            clock: seconds, monotonic.
        """
        self._token = token
        self._metrics = metrics
        self._clock = clock
        self._wrong_at: deque[float] = deque(maxlen=_MAX_DOUBLINGS)

    async def require(self, credentials: HTTPAuthorizationCredentials | None) -> None:
        """Return if the credentials are right.

        Raises:
            AdminDeniedError: they are wrong or missing, or no token is set.
        """
        if self._token is None:
            raise AdminDeniedError("Changing the model is disabled: OSTEO_ADMIN_TOKEN is not set.")
        given = credentials.credentials if credentials else ""
        if secrets.compare_digest(given.encode(), self._token.get_secret_value().encode()):
            return
        if given:
            self._metrics.wrong_admin_tokens.inc()
            delay_s = self._next_delay_s()
            _logger.warning("wrong_admin_token", extra={"delay_s": delay_s})
            await asyncio.sleep(delay_s)
        raise AdminDeniedError("Send the header Authorization: Bearer OSTEO_ADMIN_TOKEN.")

    def _next_delay_s(self) -> float:
        now = self._clock()
        n_recent = sum(now - wrong_at < RECENT_S for wrong_at in self._wrong_at)
        self._wrong_at.append(now)
        return min(FIRST_DELAY_S * 2.0**n_recent, MAX_DELAY_S)
