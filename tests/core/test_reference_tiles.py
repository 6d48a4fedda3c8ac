from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.bundle_errors import ManifestError
from app.core.reference_tiles import N_NEIGHBOURS, ReferenceTiles, read_reference

RNG = np.random.default_rng(7)
EMBEDDINGS = RNG.normal(size=(41, 32)).astype(np.float32)
REFERENCE = ReferenceTiles(EMBEDDINGS)


@given(st.integers(0, 40))
def test_distance_of_a_repeated_training_tile_is_zero(row: int) -> None:
    repeated = ReferenceTiles(np.vstack([EMBEDDINGS, *[EMBEDDINGS[row]] * N_NEIGHBOURS]))
    assert repeated.distance(EMBEDDINGS[row]) == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 40), st.floats(1e-3, 1e3))
def test_distance_ignores_the_length_of_embeddings(row: int, length: float) -> None:
    expected = REFERENCE.distance(EMBEDDINGS[row])
    assert REFERENCE.distance(EMBEDDINGS[row] * np.float32(length)) == pytest.approx(
        expected, abs=1e-6
    )
    longer = ReferenceTiles(EMBEDDINGS * np.float32(length))
    assert longer.distance(EMBEDDINGS[row]) == pytest.approx(expected, abs=1e-6)


def test_distance_is_the_mean_of_the_nearest() -> None:
    reference = ReferenceTiles(np.array([[1, 0], [1, 0], [0, 1], [-1, 0]], np.float32))
    assert reference.distance(np.array([2.0, 0.0])) == pytest.approx((0 + 0 + 1) / 3)
    assert reference.distance(np.array([-3.0, 0.0])) == pytest.approx((0 + 1 + 2) / 3)


def test_distances_equal_single_distances() -> None:
    some = RNG.normal(size=(5, 32))
    alone = [REFERENCE.distance(embedding) for embedding in some]
    assert REFERENCE.distances(some) == pytest.approx(alone, abs=1e-6)
    assert all(0 <= distance <= 2 for distance in alone)


def test_zero_embedding_has_distance_one() -> None:
    assert REFERENCE.distance(np.zeros(32)) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_embedding_has_distance_nan(value: float) -> None:
    assert np.isnan(REFERENCE.distance(np.full(32, value)))


def test_file_preserves_distances(tmp_path: Path) -> None:
    REFERENCE.write(tmp_path / "reference.npz")
    read = read_reference(tmp_path / "reference.npz")
    some = RNG.normal(size=(200, 32))
    assert read.embedding_size == 32
    assert np.abs(read.distances(some) - REFERENCE.distances(some)).max() < 1e-3


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def write_as_npy(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, EMBEDDINGS)


def write_pickled(path: Path) -> None:
    np.savez(path, directions=np.array([{"a": 1}, None, 2], dtype=object))


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        cut_off,
        flip_a_byte,
        write_as_npy,
        write_pickled,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not an archive"),
        lambda path: np.savez(path, other=EMBEDDINGS),
        lambda path: np.savez(path, directions=EMBEDDINGS[0]),
        lambda path: np.savez(path, directions=EMBEDDINGS[: N_NEIGHBOURS - 1]),
        lambda path: np.savez(path, directions=np.full((5, 32), np.nan)),
        lambda path: np.savez(path, directions=np.full((5, 32), "text")),
    ],
)
def test_damaged_file_is_rejected(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path = tmp_path / "reference.npz"
    REFERENCE.write(path)
    damage(path)
    with pytest.raises(ManifestError, match=r"reference\.npz"):
        read_reference(path)
