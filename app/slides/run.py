"""Classify a slide from its file to its finished outputs, resuming what an earlier run left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from app import __version__
from app.core.errors import OsteoError
from app.core.manifest import Manifest
from app.core.slide_errors import ExtraMissingError, SlideChangedError, SlideError
from app.core.slide_limits import DEFAULT_SLIDE_LIMITS, SlideLimits
from app.core.tile import TILE_SIDE_PX
from app.inference.classifier import Classifier
from app.runtime.cores import usable_cores
from app.slides.checkpoint import Checkpoint
from app.slides.classify import TileWork, tissue_cells
from app.slides.folder_lock import locked
from app.slides.grid import Grid, make_grid
from app.slides.identity import sha256_of_slide, stamp_of
from app.slides.opening import open_slide
from app.slides.outputs.colours import label_colours
from app.slides.outputs.writing import ANNOTATIONS_NAME, write_outputs
from app.slides.results import SlideSummary
from app.slides.source import SlideSource
from app.slides.summarize import ClassifiedSlide, summarize
from app.slides.tile_rows import TileRow
from app.slides.tissue import overview_px, tissue_shares

Stage = Literal["opening", "finding tissue", "classifying", "writing"]
Progress = Callable[[Stage, int, int | None], None]
"""Called with the stage, the tiles done and the tissue tiles (None until they are known)."""
Parameters = dict[str, float | int | str | None]
CHECKPOINT_NAME: Final = "tiles.sqlite3"


@dataclass(frozen=True, slots=True)
class SlideRun:
    """What to classify and where to write.

    Attributes:
        path: the slide file, or the folder of a DICOM series.
        out_dir: folder of the outputs and of the checkpoint; created if it does not exist.
        sha256: of the slide, if it is known; else it is computed.
        mpp: micrometres per pixel of level 0, if the file does not state it or is wrong.
        min_tissue_share: tiles with less tissue are not classified, in [0, 1].
        min_tumor_mm2: area of tumour below which there is no necrosis ratio.
        n_threads: threads that read and classify; the number of usable cores if None.
        limits: on the slide.
        allow_companions: whether formats of several files are read; see `open_slide`.
        lock_within_s: how long to wait for another run in the same folder, in seconds.
    """

    path: Path
    out_dir: Path
    sha256: str | None = None
    mpp: float | None = None
    min_tissue_share: float = 0.1
    min_tumor_mm2: float = 20.0
    n_threads: int | None = None
    limits: SlideLimits = field(default=DEFAULT_SLIDE_LIMITS)
    allow_companions: bool = True
    lock_within_s: float = 0.0


def run_slide(
    run: SlideRun,
    open_model: Callable[[], Classifier],
    progress: Progress = lambda *_: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> SlideSummary:
    """Classify a slide and write its outputs.

    Hashing, opening the model and finding tissue take about a second each, so they overlap.

    Args:
        run: what to classify and where to write.
        open_model: opens the model; it is closed at the end.
        progress: is told after each commit.
        is_stopped: asked before each tile; if it is true, the run ends with its rows kept.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        SlideError: the slide cannot be used.
        InterruptedError: `is_stopped` was true.
        TimeoutError: another run works in the folder.
        OSError: the slide cannot be read or the outputs cannot be written.
    """
    stamp = stamp_of(run.path)
    with (
        locked(run.out_dir, run.lock_within_s),
        _opened(run, open_model, progress) as opened,
    ):
        manifest = opened.classifier.bundle.manifest
        slide, parameters = _classify(run, opened, progress, is_stopped)
        opened.classifier.close()  # the outputs need its memory
        if stamp_of(run.path) != stamp:
            raise SlideChangedError
        progress("writing", len(slide.rows), len(slide.rows))
        summary = summarize(
            slide, manifest, opened.classifier.bundle.sha256, run.min_tumor_mm2, parameters
        )
        if slide.facts.format == "dicom":
            failure = _write_annotations(run.out_dir, opened.source, summary, slide.rows, manifest)
            summary = summary.model_copy(update={"warnings": [failure] if failure else []})
        write_outputs(
            run.out_dir,
            summary,
            slide.rows,
            opened.overview,
            manifest,
            manifest.cam_shape,
            partial(_tile_to_show, opened.source, slide.grid),
        )
    return summary


@dataclass(frozen=True, slots=True)
class _Opened:
    """A slide and a model, ready to work.

    Attributes:
        source: the slide.
        overview: uint8 RGB `[h, w, 3]`, the whole slide.
        sha256: of the slide.
        classifier: the model.
    """

    source: SlideSource
    overview: NDArray[np.uint8]
    sha256: str
    classifier: Classifier


@contextmanager
def _opened(
    run: SlideRun, open_model: Callable[[], Classifier], progress: Progress
) -> Iterator[_Opened]:
    """Open slide and model, and hash the slide, at the same time; close both at the end."""
    progress("opening", 0, None)
    with ThreadPoolExecutor(2) as pool:
        opening = pool.submit(open_model)
        hashing = pool.submit(sha256_of_slide, run.path) if run.sha256 is None else None
        try:
            with closing(open_slide(run.path, run.mpp, run.limits, run.allow_companions)) as source:
                progress("finding tissue", 0, None)
                overview = source.read_overview(overview_px(source.facts))
                sha256 = run.sha256 or (hashing.result() if hashing else "")
                yield _Opened(source, overview, sha256, opening.result())
        finally:
            with suppress(OsteoError):  # it was raised above
                opening.result().close()


def _classify(
    run: SlideRun, opened: _Opened, progress: Progress, is_stopped: Callable[[], bool]
) -> tuple[ClassifiedSlide, Parameters]:
    """Classify the tissue tiles that have no row yet."""
    facts, classifier = opened.source.facts, opened.classifier
    grid = make_grid(facts, classifier.bundle.manifest.input, run.limits)
    shares = tissue_shares(opened.overview, facts, grid)
    cells = tissue_cells(shares, run.min_tissue_share)
    parameters = _parameters(run, classifier.runtime.precision)
    key = _key(opened.sha256, classifier, parameters)
    with closing(Checkpoint(run.out_dir / CHECKPOINT_NAME, key)) as checkpoint:
        told = partial(progress, "classifying")
        work = TileWork(opened.source, classifier, grid, shares, checkpoint, told, is_stopped)
        work.classify(cells, run.n_threads or usable_cores())
        rows = list(checkpoint.rows())
    return ClassifiedSlide(opened.sha256, facts, grid, len(cells), rows), parameters


def _parameters(run: SlideRun, precision: str) -> Parameters:
    """Settings that the answer depends on, as the summary states them."""
    return {
        "mpp_given": run.mpp,
        "min_tissue_share": run.min_tissue_share,
        "min_tumor_mm2": run.min_tumor_mm2,
        "precision": precision,
        "program": __version__,
    }


def _key(sha256: str, classifier: Classifier, parameters: Mapping[str, object]) -> str:
    """Identifies everything that decides the rows; see `Checkpoint`."""
    decided = [sha256, classifier.bundle.sha256, classifier.answer_settings, parameters]
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def _write_annotations(
    folder: Path,
    source: SlideSource,
    summary: SlideSummary,
    rows: Sequence[TileRow],
    manifest: Manifest,
) -> str | None:
    """Write the tiles as a DICOM object, for a slide that came as DICOM.

    Returns:
        Why it was not written: a header without attributes of the specimen, or a package that is
        not installed, must not cost a finished run.
    """
    from app.slides.dicom.source import DicomSource
    from app.slides.outputs.dicom_annotations import write_dicom_annotations

    if isinstance(source, DicomSource):
        colours = dict(zip(manifest.label_ids, label_colours(manifest.labels), strict=True))
        path = folder / ANNOTATIONS_NAME
        path.unlink(missing_ok=True)
        try:
            write_dicom_annotations(path, summary, rows, source.level0_path, colours)
        except (SlideError, ExtraMissingError) as error:
            return f"{ANNOTATIONS_NAME} was not written: {error}"
    return None


def _tile_to_show(source: SlideSource, grid: Grid, row: TileRow) -> NDArray[np.uint8] | None:
    """A tile for the report, uint8 RGB `[224, 224, 3]`; None if it cannot be read."""
    location = grid.location_level0(row.column, row.row)
    try:
        return source.read_square(location, grid.side_level0, TILE_SIDE_PX)
    except SlideError:
        return None
