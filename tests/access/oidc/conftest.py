"""The provider and its Node.js."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.oidc.provider import Provider
from tests.clients.tools import Tools, install


@pytest.fixture(scope="session")
def node() -> Tools:
    """Node.js and oidc-provider; without a network the tests are skipped, but never in CI."""
    try:
        return install(Path(__file__).parent, "oidc")
    except AssertionError as error:
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            raise
        pytest.skip(f"the provider of tests/access/oidc cannot be installed: {error}")


@pytest.fixture(scope="module")
def provider(node: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A running provider that the tests of a module share."""
    provider = Provider(node, tmp_path_factory.mktemp("provider"))
    provider.start()
    yield provider
    provider.kill()
