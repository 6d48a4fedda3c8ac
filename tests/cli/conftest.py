"""A runtime for the commands that needs no network weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from app.serving.loading import open_classifier
from app.settings import read_settings
from tests.bundles import FakeRuntime, build_bundle, opener_of, saying
from tests.cli.fake_model import fake_runtime
from tests.cli.program import MODELS_OF_FAKE
from tests.records import a_record


@pytest.fixture(scope="package", autouse=True)
def _parser_built_once() -> Iterator[None]:
    """`CliRunner` would build the parser of all commands anew each time, which takes 30 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", functools.cache(get_command))
        yield


@pytest.fixture(scope="session")
def fake_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models folder of `fake_runtime`, which no test may change."""
    models = tmp_path_factory.mktemp("fake") / "models"
    build_bundle(models, record=a_record())
    return models


@pytest.fixture
def forked_fake(fake_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let forked commands take `fake_runtime`, since opening a real model takes half a second."""
    monkeypatch.setenv(MODELS_OF_FAKE, str(fake_models))


@pytest.fixture
def runtime(fake_models: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """The runtime of the commands: predicts non_tumor, with evidence in the upper left."""
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(fake_models))
    fake = fake_runtime()

    def open_fake(*_arguments: object) -> object:
        fake.poison = lambda logits: logits  # the golden tile is answered as released
        classifier = open_classifier(read_settings(), None, opener_of(fake))  # type: ignore[arg-type]  # the metrics are unused
        fake.poison = saying(9.0, 0.0, 0.0)
        return classifier

    for command in ("classify", "explain", "report.command"):
        monkeypatch.setattr(f"app.cli.{command}.open_classifier", open_fake)
    return fake
