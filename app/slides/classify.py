"""Read and classify the tissue tiles of a slide with several threads, a chunk each at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.core.slide_errors import CorruptSlideError
from app.core.tile import TileHeader
from app.inference.classifier import Classifier
from app.slides.checkpoint import COMMIT_ROWS, Checkpoint
from app.slides.grid import Grid
from app.slides.source import SlideSource
from app.slides.tile_rows import TileRow

Cell = tuple[int, int]
"""Column and row of a tile."""


def tissue_cells(shares: NDArray[np.float32], min_share: float) -> list[Cell]:
    """The tiles to classify, row by row; each row's neighbours share the slide's own tiles.

    Args:
        shares: float32 `[rows, columns]`, see `tissue_shares`.
        min_share: of tissue that a tile needs, in [0, 1].
    """
    return [(int(column), int(row)) for row, column in np.argwhere(shares >= max(min_share, 1e-6))]


@dataclass(slots=True)
class TileWork:
    """What the threads share.

    Attributes:
        source: the slide.
        classifier: the model.
        grid: places of the tiles.
        shares: float32 `[rows, columns]`, share of tissue of each tile.
        checkpoint: gets the rows.
        progress: is told the number of tiles done and of all.
        is_stopped: asked before each tile.
    """

    source: SlideSource
    classifier: Classifier
    grid: Grid
    shares: NDArray[np.float32]
    checkpoint: Checkpoint
    progress: Callable[[int, int], None]
    is_stopped: Callable[[], bool]
    _chunks: Iterator[Sequence[Cell]] = field(default_factory=lambda: iter(()))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _n_done: int = 0
    _n_all: int = 0

    def classify(self, cells: Sequence[Cell], n_threads: int) -> None:
        """Classify the tiles that have no row yet.

        A tile that cannot be read gets a row with the error.

        Args:
            cells: all tissue tiles.
            n_threads: number of threads.

        Raises:
            InterruptedError: `is_stopped` was true. What is done has been committed.
            InferenceError: the model failed.
            OSError: the checkpoint cannot be written.
        """
        done = self.checkpoint.done()
        rest = [cell for cell in cells if cell not in done]
        self._n_all, self._n_done = len(cells), len(cells) - len(rest)
        self._chunks = (rest[i : i + COMMIT_ROWS] for i in range(0, len(rest), COMMIT_ROWS))
        self.progress(self._n_done, self._n_all)
        with ThreadPoolExecutor(n_threads, "tiles") as pool:
            running = [pool.submit(self._work) for _ in range(n_threads)]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:  # also after Ctrl-C: the threads end at their next tile
                self._is_over.set()
        for thread in running:
            thread.result()
        if self._n_done < self._n_all:
            raise InterruptedError("The slide was not finished.")

    def _work(self) -> None:
        while True:
            with self._lock:
                chunk = next(self._chunks, ())
            if not chunk:
                return
            rows: list[TileRow] = []
            try:
                for cell in chunk:
                    if self.is_stopped() or self._is_over.is_set():
                        return
                    rows.append(self._answer(cell))
            finally:
                self._commit(rows)

    def _commit(self, rows: Sequence[TileRow]) -> None:
        with self._lock:
            self.checkpoint.append(rows)
            self._n_done += len(rows)
            self.progress(self._n_done, self._n_all)

    def _answer(self, cell: Cell) -> TileRow:
        column, row = cell
        share = round(float(self.shares[row, column]), 4)
        side_px = self.classifier.bundle.manifest.input.side_px
        location = self.grid.location_level0(column, row)
        try:
            tile = self.source.read_square(location, self.grid.side_level0, side_px)
        except CorruptSlideError as error:
            return TileRow(column, row, share, error=error.reason)
        side = round(self.grid.side_level0)
        answer = self.classifier.classify_pixels(tile, TileHeader("TIFF", side, side))
        review = answer.assessment.review
        index = int(answer.probabilities.argmax())
        return TileRow(
            column,
            row,
            share,
            probabilities=tuple(round(float(p), 6) for p in answer.probabilities),
            reasons=tuple(review.reasons),
            priority=review.priority,
            distance=answer.assessment.checks.distance,
            evidence=answer.cam[..., index].clip(min=0).astype(np.float16).tobytes(),
        )
