"""`osteo report`: classify tiles and write one page about them, with CSV and JSON beside it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from app.cli.arguments import counted_files, named_paths, search_named
from app.cli.endings import EXIT_FAILED, EXIT_INTERRUPTED, fail, plain_errors
from app.cli.files import answer_files
from app.cli.names import shown
from app.cli.progress import tracked
from app.cli.report.images import picture_tile
from app.cli.report.names import names_of
from app.cli.report.page import Subject
from app.cli.report.summary import Summary
from app.cli.report.target import Target, choose_target, require_no_tile_replaced
from app.cli.report.writer import write_report
from app.cli.search import reason_of
from app.core.errors import counted
from app.serving.loading import open_classifier
from app.settings import read_settings
from app.telemetry.metrics import Metrics


def report(
    paths: Annotated[list[str], typer.Argument(help="Tiles, and folders to search for tiles.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="The page to write, such as report.html.")
    ],
    hide_names: Annotated[
        bool, typer.Option("--hide-names", help="Number the tiles on the page instead.")
    ] = False,
    size_px: Annotated[
        int, typer.Option(min=64, max=1024, help="Side of each picture on the page, in pixels.")
    ] = 256,
) -> None:
    """Write one page about tiles, those to look at first on top.

    The page has all pictures in it and needs no other file or network. It
    shows each tile with its evidence, its answer and the reasons for review,
    and the counts by label. The rows of `osteo classify` are beside it, as
    CSV and JSON.

    A folder:        osteo report slides/case-4 -o case-4.html
    To pass it on:   osteo report slides/case-4 -o case-4.html --hide-names

    File names may identify patients: --hide-names replaces them on the page;
    the CSV and the JSON keep them.

    Exit code 0: all tiles were classified. 1: some were not, and the page
    lists them; or the report could not be written. 2: there was nothing to
    try. 130: Ctrl-C. Without a whole report, an older one stays as it was.
    """
    with plain_errors():
        named = named_paths(paths)
        target = choose_target(output)
        search = search_named(named)
        require_no_tile_replaced(target, search.found)
        classifier = open_classifier(read_settings(), Metrics())
    names = names_of(named, hide_names)
    subject = Subject(names.heading, hide_names, search.skipped.sentence(), datetime.now(UTC))
    answer = partial(picture_tile, classifier, size_px)
    summary = Summary()
    try:
        with (
            closing(classifier),
            closing(answer_files(classifier, search.found, answer)) as outcomes,
            tracked(outcomes, len(search.found), "Reporting") as followed,
        ):
            manifest = classifier.bundle.manifest
            write_report(target, followed, names, subject, summary, classifier.identity, manifest)
    except KeyboardInterrupt:
        done = counted_files(summary.n_tiles + summary.n_failed, search)
        fail(f"Interrupted after {done}; no report was written.", EXIT_INTERRUPTED)
    except OSError as error:
        fail(f"{shown(Path(output))} cannot be written: {reason_of(error)}.", EXIT_FAILED)
    _print_result(output, target, summary)
    if summary.n_failed:
        fail(f"{counted_files(summary.n_failed, search)} could not be classified.", EXIT_FAILED)


def _print_result(output: str, target: Target, summary: Summary) -> None:
    counts = f"{counted(summary.n_tiles, 'tile')}, {summary.n_for_review} to look at"
    tables = f"{shown(Path(target.csv.name))} and {shown(Path(target.json.name))}"
    typer.echo(f"{shown(Path(output))}: {counts}. The rows are beside it in {tables}.")
