"""A runtime for the commands that needs no network weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from typer.main import get_command

from app.serving.loading import open_classifier
from app.settings import read_settings
from tests.bundles import FakeRuntime, opener_of, saying, small_models
from tests.records import embedding_at


@pytest.fixture(scope="package", autouse=True)
def _parser_built_once() -> Iterator[None]:
    """`CliRunner` would build the parser of all commands anew each time, which takes 30 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", functools.cache(get_command))
        yield


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `osteo` use the small network, since opening the released one takes half a second."""
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(small_models()))


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """The runtime of the commands: predicts non_tumor, with evidence in the upper left."""
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(small_models()))
    fake = FakeRuntime()
    fake.embedding = embedding_at(0.1)
    fake.cam[0, 0] = 3.0

    def open_fake(*_arguments: object) -> object:
        fake.poison = lambda logits: logits  # the golden tile is answered as released
        classifier = open_classifier(read_settings(), None, opener_of(fake))  # type: ignore[arg-type]  # the metrics are unused
        fake.poison = saying(9.0, 0.0, 0.0)
        return classifier

    for command in ("classify", "explain", "report.command"):
        monkeypatch.setattr(f"app.cli.{command}.open_classifier", open_fake)
    return fake
