"""The tools, and a service with the released bundle that clients talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.tools import Tools, install
from tests.servers import RunningServer, running_server


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The linters and generators; without a network the tests are skipped, but never in CI."""
    try:
        return install()
    except AssertionError as error:
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            raise
        pytest.skip(f"the tools of tests/clients cannot be installed: {error}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("service")) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="session")
def document(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the document that the service serves."""
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_bytes(server.client.get(f"{server.url}/openapi.json").content)
    return file
