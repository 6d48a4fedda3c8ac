"""The model of commands that are not about a model. Forked programs import it."""

from __future__ import annotations

from tests.bundles import FakeRuntime
from tests.records import embedding_at


def fake_runtime() -> FakeRuntime:
    """Has evidence for each label in the upper left; `build_bundle` with `a_record` fits it."""
    fake = FakeRuntime()
    fake.embedding = embedding_at(0.1)
    fake.cam[0, 0] = 3.0
    return fake
