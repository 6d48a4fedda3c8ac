"""Read what a finished run has written to its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from app.core.slide_store_errors import ResultNotFoundError
from app.slides.checkpoint import stored_rows
from app.slides.results import SlideSummary
from app.slides.tile_rows import TileRow

SUMMARY_NAME: Final = "summary.json"


def read_summary(folder: Path) -> SlideSummary:
    """The summary of a run.

    Raises:
        ResultNotFoundError: it was deleted meanwhile, or is of another version of the program.
    """
    try:
        return SlideSummary.model_validate_json((folder / SUMMARY_NAME).read_bytes())
    except (FileNotFoundError, ValidationError):
        raise ResultNotFoundError([]) from None


def read_answer(folder: Path) -> tuple[SlideSummary, list[TileRow]]:
    """The summary and the rows of a run.

    Raises:
        ResultNotFoundError: they were deleted meanwhile.
    """
    from app.slides.run import CHECKPOINT_NAME

    try:
        return read_summary(folder), stored_rows(folder / CHECKPOINT_NAME)
    except OSError:
        raise ResultNotFoundError([]) from None
