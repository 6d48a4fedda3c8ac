from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bundle import open_bundle
from app.core.errors import InferenceError
from app.core.manifest import InputContract
from app.core.slide_errors import CorruptSlideError
from app.core.slide_limits import DEFAULT_SLIDE_LIMITS
from app.inference.classifier import Classifier
from app.settings import Settings
from app.slides.checkpoint import Checkpoint
from app.slides.classify import TileWork, tissue_cells
from app.slides.facts import SlideFacts
from app.slides.grid import Grid, make_grid
from tests.bundles import FakeRuntime, build_bundle, failing
from tests.slides.test_grid import facts_of

COLUMNS, ROWS = 10, 10
SHARES = np.full((ROWS, COLUMNS), 0.5, np.float32)
GRID: Grid = make_grid(
    facts_of(1024 * COLUMNS, 1024 * ROWS, 1.0), InputContract(), DEFAULT_SLIDE_LIMITS
)


class ColouredSource:
    """A slide whose tiles are one colour each; some cannot be read."""

    def __init__(self, broken: set[tuple[int, int]] | None = None) -> None:
        self.broken = broken or set()
        self.read: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    @property
    def facts(self) -> SlideFacts:
        return facts_of(1024 * COLUMNS, 1024 * ROWS, 1.0)

    def read_square(
        self, location_level0: tuple[int, int], side_level0: float, side_px: int
    ) -> NDArray[np.uint8]:
        column, row = (round(place / side_level0) for place in location_level0)
        with self._lock:
            self.read.append((column, row))
        if (column, row) in self.broken:
            raise CorruptSlideError("its tile has no data.")
        colour = (250, 20, 20) if (column + row) % 2 else (20, 20, 250)
        return np.full((side_px, side_px, 3), colour, np.uint8)

    def read_overview(self, max_px: int) -> NDArray[np.uint8]:
        return np.zeros((max_px, max_px, 3), np.uint8)

    def close(self) -> None:
        pass


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def classifier(tmp_path: Path, runtime: FakeRuntime) -> Classifier:
    return Classifier(open_bundle(build_bundle(tmp_path / "models")), runtime, Settings())


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Checkpoint]:
    with Checkpoint(tmp_path / "tiles", "key") as opened:
        yield opened


def work_on(
    source: ColouredSource,
    classifier: Classifier,
    checkpoint: Checkpoint,
    stop_after: int | None = None,
) -> tuple[TileWork, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    def is_stopped() -> bool:
        return stop_after is not None and len(source.read) >= stop_after

    work = TileWork(source, classifier, GRID, SHARES, checkpoint, progress, is_stopped)
    return work, told


def test_tissue_cells_run_along_rows_and_leave_glass_out() -> None:
    shares = np.array([[0.0, 0.2], [0.1, 0.05]], np.float32)
    assert tissue_cells(shares, 0.1) == [(1, 0), (0, 1)]
    assert tissue_cells(shares, 0.0) == [(1, 0), (0, 1), (1, 1)], "glass is never read"


@pytest.mark.parametrize("n_threads", [1, 3])
def test_each_tile_is_answered_once(
    classifier: Classifier, checkpoint: Checkpoint, n_threads: int
) -> None:
    source = ColouredSource()
    work, told = work_on(source, classifier, checkpoint)
    cells = tissue_cells(SHARES, 0.1)
    work.classify(cells, n_threads)
    rows = list(checkpoint.rows())
    assert [(row.column, row.row) for row in rows] == cells
    assert sorted(source.read) == sorted(cells)
    assert [row.class_index for row in rows] == [0 if sum(cell) % 2 else 2 for cell in cells]
    assert all(row.tissue_share == 0.5 and row.evidence is not None for row in rows)
    assert told[0] == (0, 100)
    assert told[-1] == (100, 100)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_tile_that_cannot_be_read_has_a_row_with_the_reason(
    classifier: Classifier, checkpoint: Checkpoint
) -> None:
    work, _ = work_on(ColouredSource({(3, 0), (5, 7)}), classifier, checkpoint)
    work.classify(tissue_cells(SHARES, 0.1), 2)
    broken = {(row.column, row.row): row.error for row in checkpoint.rows() if row.error}
    assert broken == {(3, 0): "its tile has no data.", (5, 7): "its tile has no data."}
    assert len(checkpoint.done()) == 100


def test_a_stopped_run_keeps_its_rows_and_resumes(
    classifier: Classifier, checkpoint: Checkpoint
) -> None:
    cells, source = tissue_cells(SHARES, 0.1), ColouredSource()
    work, _ = work_on(source, classifier, checkpoint, stop_after=40)
    with pytest.raises(InterruptedError):
        work.classify(cells, 2)
    n_kept = len(checkpoint.done())
    assert n_kept == len(source.read) >= 40, "no answer is thrown away"

    rest = ColouredSource()
    work, told = work_on(rest, classifier, checkpoint)
    work.classify(cells, 2)
    assert len(rest.read) == 100 - n_kept
    assert told[0] == (n_kept, 100)


def test_a_failing_model_ends_all_threads(
    classifier: Classifier, runtime: FakeRuntime, checkpoint: Checkpoint
) -> None:
    runtime.poison = failing
    source = ColouredSource()
    work, _ = work_on(source, classifier, checkpoint)
    with pytest.raises(InferenceError):
        work.classify(tissue_cells(SHARES, 0.1), 3)
    assert len(source.read) <= 3 * 2, "a thread ends at its next tile"


def test_ctrl_c_ends_all_threads(classifier: Classifier, checkpoint: Checkpoint) -> None:
    source = ColouredSource()
    work, _ = work_on(source, classifier, checkpoint)

    def interrupt(done: int, _total: int) -> None:
        if done == 0:
            return
        raise KeyboardInterrupt

    work.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        work.classify(tissue_cells(SHARES, 0.1), 2)
    assert threading.active_count() < 20
    assert len(source.read) < 100
