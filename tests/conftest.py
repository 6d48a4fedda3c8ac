"""Fixtures that most tests share. `FakeRuntime` keeps TensorFlow and LiteRT out of them."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import time
from collections.abc import Callable, Generator, ItemsView, Iterator, KeysView
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import settings as hypothesis_settings

from app.main import create_app
from app.settings import Settings
from tests.bundles import FakeRuntime, build_bundle, opener_of
from tests.forking import begin_run, end_run

REPOSITORY = Path(__file__).resolve().parent.parent
RELEASED_MODELS = REPOSITORY / "models"
_TESTS = f"{REPOSITORY / 'tests'}/"

# Rich reads it once, when a console is created at import. A worker of pytest-xdist would use 80.
os.environ["COLUMNS"] = "200"

# A busy machine makes examples slow, not wrong. The same examples each time: a failure is one of
# the change. `pytest --hypothesis-profile exploring` looks for others.
hypothesis_settings.register_profile("tests", deadline=None, derandomize=True, max_examples=50)
hypothesis_settings.register_profile("exploring", deadline=None, max_examples=1_000)
hypothesis_settings.load_profile("tests")

READY_WITHIN_S = 60.0
REQUEST_TIMEOUT_S = 120.0
"""Default for test clients. The service's own default can run out on a busy machine."""

SLOW = (
    *("benchmarks", "cli", "clients", "end_to_end", "jobs", "server"),
    *("contract/test_openapi.py", "contract/test_runtimes.py", "contract/test_examples.py"),
    *("contract/test_declared_problems.py", "contract/test_bundle_page.py"),
    *("contract/test_training_page.py", "contract/test_access_page.py"),
    *("training/collection", "training/commands", "training/data/test_tiles.py"),
    *("training/experiments", "training/features", "training/runs"),
    *("training/own_tiles/test_end_to_end.py", "training/own_tiles/test_calibrate.py"),
    *("training/own_tiles/test_unknown_slides.py", "training/table/test_commands.py"),
    *("core/formats/test_tiff_combinations.py", "core/test_jpeg_damage.py"),
    *("core/test_jpeg_pixels.py", "core/test_png_pixels.py", "core/test_webp_pixels.py"),
    *("access/oidc", "access/test_key_changes_at_once.py", "access/test_key_file.py"),
    *("access/test_rate_limits_in_redis.py", "audit"),
    *("bundle/test_mutations.py", "inference/test_colour_scale.py", "telemetry"),
    *("api/slides", "slides/viewing/test_readers.py", "inference/test_decode_processes.py"),
    "api/test_upload_pace.py",
    *("api/test_explain.py", "contract/test_imports.py", "contract/test_markers.py"),
    *("core/formats/test_damage.py", "core/formats/test_tiff_deflate.py"),
    *("inference/test_classifier.py", "runtime/test_gpus.py", "serving/test_tile_costs.py"),
    *("training/augmentation", "training/evaluation", "training/test_native_output.py"),
    *("training/data/test_annotations.py", "training/data/test_collection_variants.py"),
    *("training/data/test_overlaps.py", "training/data/test_splits.py"),
    *("training/own_tiles/test_labels.py", "training/own_tiles/test_sources.py"),
    *("training/release/test_prepared_tiles.py", "training/reliability"),
    *("training/fit/test_weights_of_views.py", "training/networks"),
    *("slides/dicom", "slides/necrosis", "slides/outputs", "slides/reading", "deploy"),
    *("contract/test_dependencies.py", "contract/test_answers.py", "api/test_auditing.py"),
    *("serving/test_rollout.py", "serving/test_service.py", "serving/test_version_watcher.py"),
)
"""Tests that start servers, processes or fits, or write thousands of pictures, take seconds each;
`make test-fast` skips them."""

LONGEST_FIRST = (
    *("contract/test_training_page.py", "training/gan", "training/networks/test_registry.py"),
    *("training/test_distributed.py", "training/own_tiles/test_end_to_end.py"),
    *("training/fit/test_classifier.py", "training/experiments", "end_to_end/test_secrets.py"),
    *("server", "training"),
)
"""A file runs on one worker, so a long one at the end would leave the other workers idle."""

MakeClient = Callable[..., TestClient]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Refuse parameters in no order: each worker would collect its own, and pytest-xdist fails."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        values = mark.kwargs.get("argvalues", mark.args[1] if len(mark.args) > 1 else ())
        if isinstance(values, AbstractSet) and not isinstance(values, KeysView | ItemsView):
            raise pytest.Collector.CollectError(
                f"{metafunc.definition.nodeid} is parametrized over a {type(values).__name__}, "
                "whose order differs between worker processes. Use sorted(...) or a tuple."
            )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of `SLOW` to find that none of its tests is asked for."""
    is_fast = "not slow" in config.getoption("markexpr")
    return (is_fast and _position(collection_path, SLOW) < len(SLOW)) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests below the paths of `SLOW`, and run the files of `LONGEST_FIRST` first."""
    for item in items:
        if _position(item.path, SLOW) < len(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _position(item.path, LONGEST_FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Everything that is collected stays, so there is no garbage to look for meanwhile."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What is loaded by now stays, so the garbage collector need not visit it again and again."""
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Let the workers of pytest-xdist share what forks programs."""
    if not hasattr(config, "workerinput"):
        begin_run()


def pytest_unconfigure() -> None:
    end_run()


@functools.cache
def _position(path: Path, listed: tuple[str, ...]) -> int:
    """Position of the first of the listed paths that contains a file; their number if none does."""
    found = f"{path}/"
    return next(
        (i for i, at in enumerate(listed) if found.startswith(f"{_TESTS}{at}/")), len(listed)
    )


@pytest.fixture(scope="session", autouse=True)
def _clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ignore the settings and the state of the developer who runs the tests."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "no-state"))
        for name in os.environ:
            if name.startswith("OSTEO_") and name not in {"OSTEO_DATA_DIR", "OSTEO_WEIGHTS"}:
                environment.delenv(name)
        yield


@pytest.fixture(scope="session")
def built_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that contains one bundle, which no test may change."""
    models = tmp_path_factory.mktemp("built") / "models"
    build_bundle(models)
    return models


@pytest.fixture
def models_dir(tmp_path: Path, built_models: Path) -> Path:
    """A models folder that contains one fake bundle, which the test may change."""
    return shutil.copytree(built_models, tmp_path / "models")


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def make_client(models_dir: Path, runtime: FakeRuntime) -> Iterator[MakeClient]:
    """Start the application with settings and wait until it is ready."""
    clients: list[TestClient] = []

    def make(*, wait: bool = True, **settings: object) -> TestClient:
        defaults = {"models_dir": models_dir, "request_timeout_s": REQUEST_TIMEOUT_S}
        chosen = Settings(**{**defaults, **settings})  # type: ignore[arg-type] # any setting
        app = create_app(chosen, opener_of(runtime))
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        deadline = time.monotonic() + READY_WITHIN_S
        while wait and client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.005)
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client()


@pytest.fixture(scope="session")
def real_tiles_dir() -> Path:
    """The folder of real labelled tiles; the test is skipped if there is none."""
    folder = Path(os.environ.get("OSTEO_DATA_DIR", REPOSITORY.parent / "shared" / "tcia-sample"))
    if not folder.is_dir():
        pytest.skip(f"no real tiles: set OSTEO_DATA_DIR (looked in {folder})")
    return folder
