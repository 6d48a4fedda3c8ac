from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.bundle import open_bundle
from app.core.errors import TileFormatError
from app.inference.classifier import Classifier
from app.settings import Settings
from tests.bundles import FakeRuntime, build_bundle, plain_tile

TILE = plain_tile((200, 120, 160))


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def classifier(tmp_path: Path, runtime: FakeRuntime) -> Classifier:
    return Classifier(open_bundle(build_bundle(tmp_path)), runtime, Settings())


def test_consecutive_tiles_are_alone(classifier: Classifier, runtime: FakeRuntime) -> None:
    for _ in range(3):
        classifier.classify(TILE)
    assert (runtime.n_alone, runtime.n_tiles) == (3, 3)


def test_tile_after_a_failed_one_is_alone(classifier: Classifier, runtime: FakeRuntime) -> None:
    with pytest.raises(TileFormatError):
        classifier.classify(b"not a tile")
    classifier.classify(TILE)
    assert runtime.n_alone == 1


def test_concurrent_tiles_are_not_alone(classifier: Classifier, runtime: FakeRuntime) -> None:
    runtime.delay_s = 0.2
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(classifier.classify, [TILE] * 4))
    assert runtime.n_tiles == 4
    assert runtime.n_alone <= 1  # the first may have started before the others


def test_check_runs_the_golden_tiles_alone_and_concurrently(
    classifier: Classifier, runtime: FakeRuntime
) -> None:
    assert classifier.check() < 1e-6
    assert (runtime.n_alone, runtime.n_tiles) == (1, 1 + runtime.n_warm_ups)
