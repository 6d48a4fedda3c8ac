"""The feature store computes nothing twice, and never uses a damaged chunk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.training.command_line import started, wait_for
from training.errors import CacheError
from training.features.store import Features, FeatureSpace, FeatureStore, fill, row_key

SPACE = FeatureSpace("tiny", "weights", 32)
KEYS = [row_key(f"tile {i}") for i in range(10)]


class Network:
    """Computes four numbers for each tile, and remembers which tiles."""

    def __init__(self, offset: float = 0.0) -> None:
        self.asked: list[int] = []
        self.offset = offset

    def __call__(self, positions: Sequence[int]) -> Features:
        self.asked += positions
        return answer(positions) + np.float32(self.offset)


def answer(positions: Sequence[int]) -> Features:
    return np.array([[i, 2 * i, 3 * i, 1] for i in positions], dtype=np.float32)


def test_fill_computes_each_row_once(tmp_path: Path) -> None:
    first, again = Network(), Network()
    np.testing.assert_array_equal(
        fill(FeatureStore(tmp_path, SPACE), KEYS, first), answer(range(10))
    )
    assert sorted(set(first.asked)) == list(range(10))
    stored = fill(FeatureStore(tmp_path, SPACE), KEYS[::-1], again)
    np.testing.assert_array_equal(stored, answer(range(9, -1, -1)))
    assert again.asked == []


def test_fill_computes_only_what_is_new_and_one_row_to_compare(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SPACE)
    fill(store, KEYS[:6], Network())
    network = Network()
    np.testing.assert_array_equal(fill(store, KEYS, network), answer(range(10)))
    assert network.asked == [0, 6, 7, 8, 9]


@pytest.mark.parametrize("change", ["system", "weights", "output"])
def test_another_network_reads_none_of_these_rows(tmp_path: Path, change: str) -> None:
    fill(FeatureStore(tmp_path, SPACE), KEYS, Network())
    values = {"system": "tiny", "weights": "weights", "side_px": 32, "output": "pooled"}
    other = FeatureSpace(**{**values, change: "other"})  # type: ignore[arg-type]  # one int
    assert FeatureStore(tmp_path, other).missing(KEYS) == list(range(10))


def test_row_key_depends_on_tile_and_view() -> None:
    views = (None, {"number": 1}, {"number": 2})
    assert len({row_key(tile, view) for tile in "ab" for view in views}) == 6


def test_fill_refuses_another_network_with_the_same_name(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SPACE)
    fill(store, KEYS[:6], Network())
    with pytest.raises(CacheError, match="other features than this network computes"):
        fill(store, KEYS, Network(offset=5.0))


@pytest.mark.parametrize("damage", ["flipped", "short", "empty"])
def test_a_damaged_chunk_is_computed_again(tmp_path: Path, damage: str) -> None:
    store = FeatureStore(tmp_path, SPACE)
    fill(store, KEYS, Network())
    (chunk,) = store.folder.glob("*.chunk")
    whole = chunk.read_bytes()
    flipped = whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:]
    chunk.write_bytes({"flipped": flipped, "short": whole[:-8], "empty": b""}[damage])
    network = Network()
    fresh = FeatureStore(tmp_path, SPACE)
    np.testing.assert_array_equal(fill(fresh, KEYS, network), answer(range(10)))
    assert set(network.asked) == set(range(10))
    assert FeatureStore(tmp_path, SPACE).missing(KEYS) == []


def test_fill_refuses_a_full_disk_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    network = Network()
    with pytest.raises(CacheError, match=r"1 MiB free.*--cache-dir"):
        fill(FeatureStore(tmp_path, SPACE), KEYS, network)
    assert network.asked == [0]


def test_a_disk_that_fills_up_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path, SPACE)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(CacheError, match="No space left on device"):
        fill(store, KEYS, Network())
    assert {path.name for path in store.folder.iterdir()} == {"space.json", "lock"}
    monkeypatch.undo()
    np.testing.assert_array_equal(fill(store, KEYS, Network()), answer(range(10)))


_FILLING = """
import sys, time
from pathlib import Path
import numpy as np
from training.features import store as store_module
from training.features.store import FeatureSpace, FeatureStore, fill, row_key

store_module._CHUNK_ROWS = 1
folder, log, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

def compute(positions):
    with log.open("a") as stream:
        stream.write("".join(f"{i}\\n" for i in positions))
    time.sleep(pause_s)
    return np.array([[i, 2 * i, 3 * i, 1] for i in positions], dtype=np.float32)

keys = [row_key(f"tile {i}") for i in range(10)]
fill(FeatureStore(folder, FeatureSpace("tiny", "weights", 32)), keys, compute)
"""


def test_a_killed_process_leaves_whole_chunks_and_a_free_lock(tmp_path: Path) -> None:
    with started(tmp_path, tmp_path / "log", 0.02, code=_FILLING) as process:
        wait_for(lambda: any(tmp_path.glob("*/*.chunk")), process)
        process.kill()
    store = FeatureStore(tmp_path, SPACE)
    (store.folder / f"{'0' * 64}.chunk.1.part").write_bytes(b"half")
    n_left = len(store.missing(KEYS))
    assert n_left < 10
    network = Network()
    np.testing.assert_array_equal(fill(store, KEYS, network), answer(range(10)))
    # One row more than was missing: the compared one, or the first, which tells the size.
    assert len(network.asked) == (n_left + 1 if n_left else 0)
    assert not list(tmp_path.glob("*/*.part"))


def test_two_processes_share_the_work_without_repeating_it(tmp_path: Path) -> None:
    filling = (tmp_path, tmp_path / "log", 0.01)
    with started(*filling, code=_FILLING) as one, started(*filling, code=_FILLING) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    computed = (tmp_path / "log").read_text().split()
    assert sorted(set(computed), key=int) == [str(i) for i in range(10)]
    assert len(computed) == 11  # the first row is computed for its size, then with the others
    assert FeatureStore(tmp_path, SPACE).missing(KEYS) == []
