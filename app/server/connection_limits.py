"""Limits on what one connection can make the server hold, and for how long.

`docs/ingress.md` lists the directives of nginx and HAProxy that make them redundant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final


@dataclass(frozen=True)
class ConnectionLimits:
    """What uvicorn does not limit itself; `math.inf` switches a limit off."""

    max_head_bytes: float = 32 * 1024
    """Request line and headers together; ordinary clients send less than 2 KiB. The same limit
    applies to what surrounds each piece of a body, to trailers, and to blank lines."""
    head_timeout_s: float = 10.0
    """From the start of a connection or request to the end of its headers."""
    max_pipelined: float = 64
    """Requests that a client may send ahead of answers; ordinary clients send none."""
    max_discarded_bytes: float = 64 * 1024**2
    """Read of a body after its request was rejected. A client that is still sending would not see
    the answer if the connection were closed at once."""
    discard_timeout_s: float = 30.0
    """From an answer to the end of a body that is discarded."""
    stall_check_s: float = 10.0
    """How often the server checks that a client takes the answer that waits for it."""
    min_taken_bytes: float = 128 * 1024
    """Taken between two checks (100 kbit/s); the answer, up to megabytes, stays in memory."""


NO_LIMITS: Final = ConnectionLimits(*[math.inf] * len(fields(ConnectionLimits)))
"""For a service that only an ingress can reach."""
