from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.bundle import open_bundle
from app.core.tile_errors import TileFormatError
from app.inference.classifier import Classifier
from app.settings import Settings
from tests.bundles import FakeRuntime, build_bundle, plain_tile
from tests.conftest import REPOSITORY

TILE = plain_tile((200, 120, 160))


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def classifier(tmp_path: Path, runtime: FakeRuntime) -> Classifier:
    return Classifier(open_bundle(build_bundle(tmp_path)), runtime, Settings())


_LIMITED = """
import resource, sys
from pathlib import Path
from app.bundle import open_bundle
from app.inference.classifier import Classifier
from app.settings import Settings
from tests.bundles import FakeRuntime

classifier = Classifier(open_bundle(Path(sys.argv[1])), FakeRuntime(), Settings())
large = sys.stdin.buffer.read()
n_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (n_bytes + 4 * 2**20, resource.RLIM_INFINITY))
try:
    classifier.classify(large)
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize(
    ("format_", "options"),
    [  # both are decoded in a thread
        ("PNG", {"compress_level": 1}),
        pytest.param("JPEG", {"progressive": True}, marks=pytest.mark.exhaustive),
    ],
)
def test_too_little_memory_is_not_a_corrupt_tile(
    tmp_path: Path, format_: str, options: dict[str, Any]
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    large = io.BytesIO()
    Image.fromarray(np.tile(noise, (4, 4, 1))).save(large, format_, **options)
    run = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(build_bundle(tmp_path))],
        input=large.getvalue(),
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    assert run.stdout.split() == [b"MemoryError"]


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
