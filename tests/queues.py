"""Reach into a service's queue, which no caller of the service can do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from app.serving.service import TileService


def occupy(service: TileService, n_tiles: int) -> AbstractContextManager[Callable[[], None]]:
    """Hold places in the queue during a `with` block."""
    return service._admission.admit(n_tiles, 0.0)
