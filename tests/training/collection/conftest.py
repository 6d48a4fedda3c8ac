"""A mirror of three drawn tiles, and no waiting for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.collection.mirrors import Mirror, serve
from training.collection.download import Patience


@pytest.fixture(autouse=True)
def _no_pauses_or_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Patience.start
    monkeypatch.setattr(Patience, "start", lambda self: plain(Patience(self.retries, 0.0, 0)))
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mirror(collection: Path) -> Iterator[Mirror]:
    with serve(collection) as mirror:
        mirror.publish_hashes()
        yield mirror
