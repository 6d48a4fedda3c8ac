"""Classify a slide from its file to its finished outputs, resuming what an earlier run left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.inference.classifier import Classifier
from app.slides.results import SlideSummary

Stage = Literal["opening", "finding tissue", "classifying", "writing"]
Progress = Callable[[Stage, int, int | None], None]
"""Called with the stage, the tiles done and the tissue tiles (None until they are known)."""


@dataclass(frozen=True, slots=True)
class SlideRun:
    """What to classify and where to write.

    Attributes:
        path: the slide file, or the folder of a DICOM series.
        out_dir: folder of the outputs and of the checkpoint.
        sha256: of the slide, if it is known; else it is computed.
        mpp: micrometres per pixel of level 0, if the file does not state it or is wrong.
        min_tissue_share: tiles with less tissue are not classified, in [0, 1].
        n_threads: reading and classifying threads; the number of usable cores if None.
    """

    path: Path
    out_dir: Path
    sha256: str | None = None
    mpp: float | None = None
    min_tissue_share: float = 0.1
    n_threads: int | None = None


def run_slide(
    run: SlideRun,
    classifier: Classifier,
    progress: Progress | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> SlideSummary:
    """Classify a slide and write its outputs.

    Args:
        run: what to classify and where to write.
        classifier: an opened model.
        progress: is told after each commit.
        is_stopped: asked after each commit; if it is true, the run ends with its rows kept.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        SlideError: the slide cannot be used.
        InterruptedError: `is_stopped` was true.
        OSError: the outputs cannot be written.
    """
    raise NotImplementedError
