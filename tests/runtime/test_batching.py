from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.core.errors import InferenceError
from app.runtime.batching import MicroBatchingRuntime, batch_sizes
from app.runtime.protocol import ModelOutputs
from tests.bundles import FakeRuntime, failing

SIDE_PX = 8


def tile_of(value: int) -> NDArray[np.uint8]:
    return np.full((1, SIDE_PX, SIDE_PX, 3), value, np.uint8)


class RecordingRuntime(FakeRuntime):
    """Records the size of each batch, including padding."""

    def __init__(self) -> None:
        super().__init__(n_workers=1)
        self.sizes: list[int] = []

    def infer(self, tiles: NDArray[np.uint8], *, alone: bool = False) -> ModelOutputs:
        self.sizes.append(len(tiles))
        return super().infer(tiles, alone=alone)


@pytest.fixture
def inner() -> RecordingRuntime:
    return RecordingRuntime()


@pytest.fixture
def batch_sizes_seen() -> list[int]:
    return []


@pytest.fixture
def batching(
    inner: RecordingRuntime, batch_sizes_seen: list[int]
) -> Iterator[MicroBatchingRuntime]:
    runtime = MicroBatchingRuntime(inner, SIDE_PX, 8, 0.05, batch_sizes_seen.append)
    inner.sizes.clear()
    yield runtime
    runtime.close()


@given(st.integers(1, 200))
def test_batch_sizes_end_with_the_largest(largest: int) -> None:
    sizes = batch_sizes(largest)
    assert sizes[-1] == largest
    assert list(sizes) == sorted(set(sizes))
    assert all(b <= 2 * a for a, b in itertools.pairwise(sizes))


def test_every_size_runs_once_at_start(inner: RecordingRuntime) -> None:
    MicroBatchingRuntime(inner, SIDE_PX, 8, 0.0, lambda _: None).close()
    assert inner.sizes == [1, 2, 4, 8]


def test_each_tile_gets_its_own_answer(
    batching: MicroBatchingRuntime, inner: RecordingRuntime, batch_sizes_seen: list[int]
) -> None:
    inner.delay_s = 0.005
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: batching.infer(tile_of(i)).logits[0, 0], range(100)))
    assert np.allclose(answers, np.arange(100) / 32)
    assert sum(batch_sizes_seen) == 100
    assert len(batch_sizes_seen) < 50, "tiles that wait at the same time share batches"
    assert set(inner.sizes) <= {1, 2, 4, 8}


def test_full_batch_does_not_wait(inner: RecordingRuntime, batch_sizes_seen: list[int]) -> None:
    runtime = MicroBatchingRuntime(inner, SIDE_PX, 4, 3600.0, batch_sizes_seen.append)
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda i: runtime.infer(tile_of(i)), range(8)))
    runtime.close()
    assert sum(batch_sizes_seen) == 8
    told = sorted(size for size in batch_sizes_seen for _ in range(size))
    assert sorted(output.n_batch_tiles for output in outputs) == told
    assert max(batch_sizes_seen) <= 4


def test_failure_reaches_waiting_callers_only(
    batching: MicroBatchingRuntime, inner: RecordingRuntime
) -> None:
    inner.poison = failing
    with pytest.raises(InferenceError):
        batching.infer(tile_of(1))
    inner.poison = lambda logits: logits
    assert batching.infer(tile_of(32)).logits[0, 0] == 1


def test_close_answers_waiting_tiles(inner: RecordingRuntime) -> None:
    runtime = MicroBatchingRuntime(inner, SIDE_PX, 4, 0.2, lambda _: None)
    answers: list[float] = []
    waiting = threading.Thread(
        target=lambda: answers.append(float(runtime.infer(tile_of(32)).logits[0, 0]))
    )
    waiting.start()
    while not runtime._waiting.empty():
        pass
    runtime.close()
    waiting.join(timeout=5)
    assert answers == [1.0]
    assert inner.is_closed


def test_single_tile_does_not_wait_for_others(inner: RecordingRuntime) -> None:
    runtime = MicroBatchingRuntime(inner, SIDE_PX, 4, 3600.0, lambda _: None)
    assert runtime.infer(tile_of(32)).logits[0, 0] == 1
    runtime.close()


def test_threads_share_the_tiles_that_wait(batch_sizes_seen: list[int]) -> None:
    inner = RecordingRuntime()
    inner.n_workers = 2
    inner.delay_s = 0.05
    runtime = MicroBatchingRuntime(inner, SIDE_PX, 8, 0.02, batch_sizes_seen.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: runtime.infer(tile_of(i)), range(80)))
    runtime.close()
    assert max(batch_sizes_seen) <= 4, "each thread takes at most its share"
