"""Streamed tiles give the same pixels and features as tiles in memory, without growing memory."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.augmentation.views import AugmentConfig
from training.data.index import Index
from training.data.tiles import TileStream, in_order, some_of
from training.errors import CacheError, DataError
from training.features import extract
from training.features.cache import StoredViews
from training.features.extract import cache_features, draw_all, read_tiles
from training.features.store import FeatureSpace, FeatureStore
from training.networks.architecture import ZERO_TO_ONE
from training.storage import scratch_array
from training.storage.scratch_array import allocate


def repeated(index: Index, times: int) -> Index:
    """The index's tiles several times over."""
    return index.model_copy(update={"tiles": index.tiles * times})


def test_tile_stream_yields_the_tiles_of_the_index_in_order(
    drawn_index: Index, drawn_dir: Path
) -> None:
    stream = TileStream(drawn_index, drawn_dir, 96)
    tiles = read_tiles(drawn_index, drawn_dir, 96)
    assert len(stream) == len(tiles)
    np.testing.assert_array_equal(np.stack(list(stream)), tiles)
    np.testing.assert_array_equal(some_of(stream, 3), tiles[[0, 6, 11]])


def test_in_order_stays_only_slightly_ahead_of_the_reader() -> None:
    made: list[int] = []

    def make(position: int) -> int:
        made.append(position)
        return position

    items = in_order(make, 1000, n_workers=2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    assert len(made) <= 3 + 2 * 8
    items.close()  # type: ignore[attr-defined] # it is a generator
    assert len(made) < 100
    assert not any(thread.name.startswith("tiles") for thread in threading.enumerate())


def test_tile_stream_names_the_tile_that_cannot_be_read(
    drawn_index: Index, collection: Path
) -> None:
    with pytest.raises(DataError, match=r"cannot be read.*osteo-train index"):
        list(TileStream(drawn_index, collection))


class Mean:
    """Replaces a frozen backbone: its features are the mean colour."""

    output_shape = (None, 3)

    def __call__(self, views: Any) -> Any:
        return views.mean(axis=(1, 2))


@pytest.fixture
def _no_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "as_function", lambda graph: graph)


@pytest.mark.usefixtures("_no_tensorflow")
@pytest.mark.parametrize("n_views", [0, 2, 33])
def test_cache_features_computes_the_features_of_each_view(
    drawn_index: Index, drawn_dir: Path, n_views: int
) -> None:
    augment = AugmentConfig(n_views=n_views)
    tiles = TileStream(repeated(drawn_index, 3), drawn_dir, 32)
    found = cache_features(Mean(), tiles, augment, 5, ZERO_TO_ONE)
    assert found.shape == (36, 1 + n_views, 3)
    views = draw_all(tiles, augment, 5)
    np.testing.assert_allclose(found, (views / 255).mean(axis=(2, 3)), atol=1e-5)


class BatchDependent(Mean):
    """Features that depend on the batch and the place in it, as the last bits of real ones do."""

    def __call__(self, views: Any) -> Any:
        return super().__call__(views) + (len(views) + np.arange(len(views)))[:, np.newaxis]


@pytest.mark.usefixtures("_no_tensorflow")
def test_cache_features_does_not_depend_on_what_else_is_computed(
    drawn_index: Index, drawn_dir: Path, tmp_path: Path
) -> None:
    augment = AugmentConfig(n_views=2)
    whole = cache_features(BatchDependent(), TileStream(drawn_index, drawn_dir, 32), augment, 5)
    space = FeatureSpace("vgg16", "none", 32)
    for n_tiles in (5, 12):  # the second time, the first five are in the store
        index = drawn_index.model_copy(update={"tiles": drawn_index.tiles[:n_tiles]})
        shas = tuple(tile.sha256 for tile in index.tiles)
        kept = StoredViews(FeatureStore(tmp_path, space), shas)
        tiles = TileStream(index, drawn_dir, 32)
        found = cache_features(BatchDependent(), tiles, augment, 5, stored=kept)
        np.testing.assert_array_equal(found, whole[:n_tiles])


@pytest.mark.usefixtures("_no_tensorflow")
def test_memory_does_not_grow_with_the_number_of_tiles(
    drawn_index: Index, drawn_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch_array, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("training.data.tiles.usable_cores", lambda: 2)  # so few tiles are ahead
    augment = AugmentConfig(n_views=1)

    def peak_bytes(times: int) -> int:
        tiles = TileStream(repeated(drawn_index, times), drawn_dir, 64)
        tracemalloc.start()
        cached = cache_features(Mean(), tiles, augment, 0, ZERO_TO_ONE)
        pixels = draw_all(tiles, augment, 0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(cached, np.memmap)
        assert isinstance(pixels, np.memmap)
        return peak

    peak_bytes(1)
    few, many = peak_bytes(4), peak_bytes(16)
    all_at_once = 12 * 12 * 2 * 64 * 64 * 3
    assert many - few < all_at_once / 10


def test_allocate_refuses_more_than_the_disk_can_hold() -> None:
    with pytest.raises(CacheError, match=r"do not fit.*TMPDIR"):
        allocate((2**45,), np.float32)


def test_allocate_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = allocate((10, 4), np.float32, in_memory_bytes=0)
    rows[:] = 7
    assert isinstance(rows, np.memmap)
    assert not any(tmp_path.iterdir())
