"""Every runtime passes the same suite on the released bundle."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bundle import (
    GOLDEN_TOLERANCE,
    Bundle,
    check_golden_tiles,
    find_bundle,
    open_bundle,
    read_golden_tiles,
)
from app.core.bundle_errors import ChecksumError
from app.core.errors import RuntimeUnavailableError
from app.core.manifest import LITERT_NAME, FileEntry
from app.runtime.protocol import Runtime
from app.runtime.select import Precision, RuntimeChoice, open_runtime
from app.settings import Settings
from tests.bundles import MODEL_NAME
from tests.conftest import RELEASED_MODELS

RUNTIMES = [
    ("litert", "fp32"),
    ("litert", "int8"),
    pytest.param(("savedmodel", "fp32"), marks=pytest.mark.tensorflow),
]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(find_bundle(RELEASED_MODELS, MODEL_NAME))


@pytest.fixture(scope="module")
def opened(bundle: Bundle) -> Iterator[Callable[..., Runtime]]:
    """Opens each runtime once."""
    runtimes: dict[tuple[RuntimeChoice, Precision], Runtime] = {}

    def get(choice: RuntimeChoice, precision: Precision = "fp32") -> Runtime:
        if (choice, precision) not in runtimes:
            runtimes[choice, precision] = open_runtime(bundle, choice, 2, precision=precision)
        return runtimes[choice, precision]

    yield get
    for runtime in runtimes.values():
        runtime.close()


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, opened: Callable[..., Runtime]) -> Runtime:
    return opened(*request.param)


@pytest.fixture(scope="module")
def tiles(bundle: Bundle) -> NDArray[np.uint8]:
    return np.stack([golden.tile for golden in read_golden_tiles(bundle)])


def test_runtime_returns_the_shapes_of_the_manifest(
    runtime: Runtime, bundle: Bundle, tiles: NDArray[np.uint8]
) -> None:
    outputs = runtime.infer(tiles)
    n_labels = len(bundle.manifest.labels)
    assert outputs.logits.shape == (len(tiles), n_labels)
    assert outputs.embedding.shape == (len(tiles), bundle.manifest.embedding_size)
    assert outputs.cam.shape == (len(tiles), *bundle.manifest.cam_shape, n_labels)
    for array in (outputs.logits, outputs.embedding, outputs.cam):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()


def test_runtime_reproduces_the_golden_tiles(runtime: Runtime, bundle: Bundle) -> None:
    difference = check_golden_tiles(
        bundle, lambda tiles: runtime.infer(tiles).logits, runtime.precision
    )
    assert difference < GOLDEN_TOLERANCE[runtime.precision]


def test_runtime_gives_a_batch_the_outputs_of_its_tiles(
    runtime: Runtime, tiles: NDArray[np.uint8]
) -> None:
    together = runtime.infer(tiles)
    for i in range(len(tiles)):
        alone = runtime.infer(tiles[i : i + 1])
        assert np.allclose(alone.logits[0], together.logits[i], atol=1e-3)
        assert np.allclose(alone.cam[0], together.cam[i], atol=1e-3)


def test_runtime_gives_the_same_outputs_on_all_cores(
    runtime: Runtime, tiles: NDArray[np.uint8]
) -> None:
    on_all_cores, on_one = runtime.infer(tiles, alone=True), runtime.infer(tiles)
    assert np.allclose(on_all_cores.logits, on_one.logits, atol=1e-5)
    assert np.allclose(on_all_cores.embedding, on_one.embedding, atol=1e-5)


@pytest.mark.parametrize("n_tiles", [24, pytest.param(60, marks=pytest.mark.exhaustive)])
def test_runtime_gives_each_thread_its_own_outputs(
    runtime: Runtime, tiles: NDArray[np.uint8], n_tiles: int
) -> None:
    expected = runtime.infer(tiles).logits
    order = np.random.default_rng(0).integers(0, len(tiles), n_tiles)

    def infer(i: int) -> NDArray[np.float32]:
        # `alone` is a hint that may be wrong.
        (logits,) = runtime.infer(tiles[i : i + 1], alone=i % 2 == 0).logits
        return np.asarray(logits)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(infer, order))
    assert np.allclose(answers, expected[order], atol=1e-3)


def test_runtime_does_not_overwrite_earlier_outputs(
    runtime: Runtime, tiles: NDArray[np.uint8]
) -> None:
    first = runtime.infer(tiles[:1])
    before = first.embedding.copy()
    runtime.infer(tiles[1:2])
    assert np.array_equal(first.embedding, before)


@pytest.mark.tensorflow
def test_runtimes_agree(opened: Callable[..., Runtime], tiles: NDArray[np.uint8]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, *tiles.shape[1:]), dtype=np.uint8)
    several = np.concatenate([tiles, noise])
    litert, savedmodel = (opened(choice).infer(several) for choice in ("litert", "savedmodel"))
    assert np.abs(litert.logits - savedmodel.logits).max() < 1e-3
    assert np.abs(litert.embedding - savedmodel.embedding).max() < 1e-3
    assert np.abs(litert.cam - savedmodel.cam).max() < 1e-3


def test_open_runtime_rejects_a_file_that_is_not_a_model(
    bundle: Bundle, tmp_path_factory: object
) -> None:
    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    folder, content = tmp_path_factory.mktemp("damaged"), b"no model at all" * 10
    (folder / LITERT_NAME).write_bytes(content)
    entry = FileEntry(sha256=hashlib.sha256(content).hexdigest(), n_bytes=len(content))
    manifest = bundle.manifest.model_copy(update={"files": {LITERT_NAME: entry}})
    with pytest.raises(RuntimeUnavailableError):
        open_runtime(Bundle(folder, manifest, bundle.sha256), "litert", 1)


def copy_of(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("models") / MODEL_NAME / bundle.path.name
    shutil.copytree(bundle.path, path)
    return open_bundle(path)


@pytest.mark.parametrize("choice", RUNTIMES)
def test_open_runtime_rejects_a_file_that_changed_after_verification(
    bundle: Bundle,
    choice: tuple[RuntimeChoice, Precision],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    copy = copy_of(bundle, tmp_path_factory)
    for file in (copy.litert_file, copy.int8_file, copy.saved_model_dir / "saved_model.pb"):
        file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ChecksumError):
        open_runtime(copy, choice[0], 1, precision=choice[1])


@pytest.mark.parametrize("choice", RUNTIMES)
def test_runtime_answers_after_its_files_were_truncated_and_overwritten(
    bundle: Bundle,
    choice: tuple[RuntimeChoice, Precision],
    tiles: NDArray[np.uint8],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    copy = copy_of(bundle, tmp_path_factory)
    runtime, two = open_runtime(copy, choice[0], 2, precision=choice[1]), tiles[:2]
    expected = runtime.infer(two).logits
    files = [path for path in copy.path.rglob("*") if path.is_file()]
    for content in (b"", b"\xff" * 50_000, b"x"):
        for file in files:
            file.write_bytes(content)
        for alone in (False, True, False):
            assert np.array_equal(runtime.infer(two, alone=alone).logits, expected)
    runtime.close()


def test_int8_preserves_evidence_maps_and_embedding(
    opened: Callable[..., Runtime], tiles: NDArray[np.uint8]
) -> None:
    exact, quantised = (opened("litert", kind).infer(tiles) for kind in ("fp32", "int8"))
    for one, other in ((exact.embedding, quantised.embedding), (exact.cam, quantised.cam)):
        for a, b in zip(one, other, strict=True):
            assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.8


@pytest.mark.parametrize("parity", [None, "flips"])
def test_open_runtime_rejects_int8_if_it_changed_a_prediction(
    bundle: Bundle, parity: str | None
) -> None:
    report = bundle.manifest.int8
    assert report is not None
    changed = report.model_copy(update={"n_flips": 1}) if parity else None
    manifest = bundle.manifest.model_copy(update={"int8": changed})
    with pytest.raises(RuntimeUnavailableError):
        open_runtime(Bundle(bundle.path, manifest, bundle.sha256), "litert", 1, precision="int8")


def test_auto_selects_litert_without_a_gpu(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runtime.select.visible_gpu_names", lambda: ())
    assert open_runtime(bundle, "auto", 1).name == "litert"


@pytest.mark.tensorflow
def test_auto_selects_the_savedmodel_with_a_gpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.runtime.select.visible_gpu_names", lambda: ("a GPU",))
    assert open_runtime(bundle, "auto", 1).name == "savedmodel"


def test_runtime_choices_match_the_setting() -> None:
    assert get_args(Settings.model_fields["runtime"].annotation) == get_args(RuntimeChoice)
