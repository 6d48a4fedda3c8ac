"""Write a report as its tiles are classified, with little memory for any number of tiles."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO, TextIO

from app.cli.files import Outcome
from app.cli.records import CsvWriter, JsonWriter
from app.cli.report.card import failure_item, tile_card
from app.cli.report.images import PicturedTile
from app.cli.report.names import Names
from app.cli.report.page import Subject, page_around_tiles
from app.cli.report.spool import Spool
from app.cli.report.summary import Summary
from app.cli.report.target import Target
from app.core.manifest import Manifest
from app.inference.results import ModelIdentity


def write_report(
    target: Target,
    outcomes: Iterable[Outcome[PicturedTile]],
    names: Names,
    subject: Subject,
    summary: Summary,
    model: ModelIdentity,
    manifest: Manifest,
) -> None:
    """Write page, CSV and JSON: rows as `osteo classify` prints them, tiles in order of need.

    Args:
        target: the files; they are replaced at the end.
        outcomes: of all files, in the order of the rows.
        names: what the page calls them.
        subject: what the report is about.
        summary: empty; it counts the outcomes.
        model: which model answered.
        manifest: of its bundle.

    Raises:
        OSError: a file cannot be written; there is no new report.
    """
    with target.staged() as drafts, ExitStack() as stack:
        csv_rows = CsvWriter(stack.enter_context(_open_text(drafts.csv)), manifest.label_ids)
        json_rows = JsonWriter(stack.enter_context(_open_text(drafts.json)))
        tiles = Spool(stack.enter_context(_open_spool(drafts.page.with_name("tiles"))))
        failures = Spool(stack.enter_context(_open_spool(drafts.page.with_name("failures"))))
        with closing(json_rows):
            for number, outcome in enumerate(outcomes, start=1):
                pictured = outcome.result
                result = pictured.result if pictured else None
                summary.add(result)
                plain = result.model_copy(update={"explanation": None}) if result else None
                row = Outcome(outcome.path, plain, outcome.error)
                csv_rows.write(row)
                json_rows.write(row)
                name = names.tile(outcome.path, number)
                if pictured is None:
                    error = names.error(outcome.path, str(outcome.error))
                    failures.add(number, failure_item(name, number, error))
                else:
                    card = tile_card(name, number, pictured, manifest.labels)
                    tiles.add(-pictured.result.review.priority, card)
        around = page_around_tiles(subject, summary, model, manifest)
        head, middle, foot = (part.encode("utf-8") for part in around)
        with drafts.page.open("wb") as page:
            page.write(head)
            failures.copy_to(page)
            page.write(middle)
            tiles.copy_to(page)
            page.write(foot)
        stack.close()  # whatever is still buffered must reach the disk before the files are moved


def _open_text(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="\n")


def _open_spool(path: Path) -> BinaryIO:
    return path.open("w+b")
