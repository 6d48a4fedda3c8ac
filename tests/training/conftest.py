"""Fixtures of the training tests: a drawn collection, real tiles if present, a tiny run."""

from __future__ import annotations

import contextlib
import csv
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.eager import run_eagerly
from tests.training.tiny_system import TINY
from training.data.annotations import find_table, read_table
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index, build_index
from training.data.tile_names import file_stem_of
from training.networks.registry import SYSTEMS
from training.reliability import bundle_assessment, ood_samples

DRAWN_SIDE_PX = 128
_MOST_DRAWN_PX = 256
"""Larger tiles repeat their pixels, because drawing them takes a second for four."""
RAW_BY_LABEL = {
    "non_tumor": "Non-Tumor",
    "non_viable_tumor": "Non-Viable-Tumor",
    "viable_tumor": "Viable",
}
_SHARED = Path(__file__).parents[2].parent / "shared"
_SHARED_WEIGHTS = _SHARED / "weights" / "mobilenet_v2_1.0_224_imagenet_no_top.weights.h5"

TINY_CONFIG = """
model_name = "drawn"
seed = 1

[data]
tile_side_px = 128

[splits]
random_folds = 2
slide_folds = 2

[augment]
n_views = 1

[network]
weights = "none"
hidden_units = 8

[head]
epochs = 2
learning_rate = 1e-3
averaging = 0.9

[fine_tune]
epochs = 1
first_layer = "Conv_1"
views_per_epoch = 1
"""
"""Fine-tuning trains the last convolution only: compiling more layers takes seconds."""


@functools.lru_cache(maxsize=128)
def drawn_tile(label: str, side_px: int, seed: int) -> NDArray[np.uint8]:
    """Draw a tile, which many tests share and none can change."""
    tile = draw_tile(label, side_px, seed)
    tile.setflags(write=False)
    return tile


def write_collection(folder: Path, rows: list[tuple[str, str]], side_px: int) -> Path:
    """Draw one tile per row (name, label id) in the collection's layout, and write the table."""
    tiles_dir = folder / "Training-Set-1" / "set1"
    tiles_dir.mkdir(parents=True)
    for seed, (name, label) in enumerate(rows):
        tile = drawn_tile(label, min(side_px, _MOST_DRAWN_PX), seed)
        times = side_px // len(tile)
        content = encode_tile(tile.repeat(times, axis=0).repeat(times, axis=1), "JPEG")
        (tiles_dir / f"{file_stem_of(name)}.jpg").write_bytes(content)
    with (folder / "features.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image.name", "classification"])
        writer.writerows((name, RAW_BY_LABEL[label]) for name, label in rows)
    return folder


@pytest.fixture(scope="session")
def drawn_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 drawn tiles: 2 cases, 4 slides, all three labels on each slide."""
    rows = [
        (f"{case} A{block}-{1000 * block}-{900 * number}", label)
        for case in ("Case 3", "Case 48 - P5")
        for block in (1, 2)
        for number, label in enumerate(RAW_BY_LABEL)
    ]
    return write_collection(tmp_path_factory.mktemp("drawn"), rows, DRAWN_SIDE_PX)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Three drawn tiles that a test may change."""
    rows = [(f"Case 4 C{i}-100-200", label) for i, label in enumerate(RAW_BY_LABEL)]
    return write_collection(tmp_path / "collection", rows, DRAWN_SIDE_PX)


@pytest.fixture(scope="session")
def drawn_index(drawn_dir: Path) -> Index:
    index, problems = build_index(
        drawn_dir, read_table(find_table(drawn_dir)), side_px=DRAWN_SIDE_PX
    )
    assert not problems
    return index


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure a bundle on a few pictures per kind instead of hundreds."""
    monkeypatch.setattr(ood_samples, "N_PER_KIND", 1)
    monkeypatch.setattr(bundle_assessment, "MAX_TILES", 1)


@pytest.fixture
def eagerly() -> Iterator[None]:
    """For a test whose fits have so few steps that compiling them takes longer."""
    with run_eagerly():
        yield


@pytest.fixture(params=["eagerly", pytest.param("compiled", marks=pytest.mark.exhaustive)])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """For a test of few steps that shows what compiling might change."""
    with run_eagerly() if request.param == "eagerly" else contextlib.nullcontext():
        yield


@pytest.fixture
def tiny_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of a small run; it may name the system of `tiny_system.py`."""
    monkeypatch.setitem(SYSTEMS, TINY.name, TINY)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_CONFIG)
    return path


def _found(variable: str, default: Path, exists: Callable[[Path], bool]) -> Path:
    path = Path(os.environ.get(variable, default))
    if not exists(path):
        pytest.skip(f"{path} does not exist; set {variable}")
    return path


@pytest.fixture(scope="session")
def real_dir() -> Path:
    return _found("OSTEO_DATA_DIR", _SHARED / "tcia-sample", Path.is_dir)


@pytest.fixture(scope="session")
def real_weights() -> str:
    return str(_found("OSTEO_WEIGHTS", _SHARED_WEIGHTS, Path.is_file))
