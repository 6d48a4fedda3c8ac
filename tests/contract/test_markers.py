"""The folders that are marked as slow exist."""

from __future__ import annotations

import pytest

from tests.conftest import REPOSITORY, SLOW


@pytest.mark.parametrize("path", SLOW)
def test_every_slow_path_exists(path: str) -> None:
    assert (REPOSITORY / "tests" / path).exists()
