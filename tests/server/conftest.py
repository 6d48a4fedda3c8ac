from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.connections import plain_app
from tests.servers import serving


@pytest.fixture(scope="module")
def plain_address() -> Iterator[tuple[str, int]]:
    """Host and port of a server that runs `plain_app` and closes connections idle for a second."""
    with serving(plain_app, keep_alive_s=1) as address:
        yield address
