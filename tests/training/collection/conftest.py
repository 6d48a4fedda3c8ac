"""A mirror of three drawn tiles; retries do not wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.collection.mirrors import Mirror, serve
from training.collection.download import Patience


@pytest.fixture(autouse=True)
def _no_pauses_or_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "pause_before", lambda *_: 0.0)
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mirror(collection: Path) -> Iterator[Mirror]:
    with serve(collection) as mirror:
        mirror.publish_hashes()
        yield mirror
