"""A runtime for the commands that needs no network weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.serving.loading import open_classifier
from app.settings import read_settings
from tests.bundles import FakeRuntime, build_bundle, opener_of, saying
from tests.records import a_record, embedding_at


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """The runtime of the commands: predicts non_tumor, with evidence in the upper left."""
    build_bundle(tmp_path / "models", record=a_record())
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(tmp_path / "models"))
    fake = FakeRuntime()
    fake.embedding = embedding_at(0.1)
    fake.cam[0, 0, 0] = 3.0

    def open_fake(*_arguments: object) -> object:
        fake.poison = lambda logits: logits  # the golden tile is answered as released
        classifier = open_classifier(read_settings(), None, opener_of(fake))  # type: ignore[arg-type]  # the metrics are unused
        fake.poison = saying(9.0, 0.0, 0.0)
        return classifier

    for command in ("classify", "explain", "report.command"):
        monkeypatch.setattr(f"app.cli.{command}.open_classifier", open_fake)
    return fake
