"""`osteo explain`: draw the evidence maps of tiles without a server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from app.cli.arguments import counted_files, named_paths, search_named
from app.cli.endings import EXIT_FAILED, EXIT_INTERRUPTED, fail, plain_errors, say
from app.cli.files import Outcome, answer_files
from app.cli.names import shown
from app.cli.pictures import (
    Destination,
    choose_destination,
    concerns_all,
    require_no_tile,
    write_picture,
)
from app.cli.progress import is_terminal, tracked
from app.cli.search import reason_of
from app.core.errors import ExplanationUnavailableError
from app.inference.classifier import Classifier
from app.inference.explanation import PREDICTED
from app.inference.heatmap import Picture
from app.inference.results import TileResult
from app.serving.loading import open_classifier
from app.settings import read_settings
from app.telemetry.metrics import Metrics

_Drawn = tuple[TileResult, bytes]


def explain(
    tiles: Annotated[list[str], typer.Argument(help="Tiles, and folders to search for tiles.")],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The PNG or JPEG to write; for several tiles, a folder of PNGs, which is created.",
        ),
    ],
    label: Annotated[
        str, typer.Option(help="Label whose evidence to draw, or `predicted`.")
    ] = PREDICTED,
    picture: Annotated[
        Picture, typer.Option(help="Heat map over the tile, also beside it, or on transparency.")
    ] = "overlay",
    size_px: Annotated[
        int, typer.Option(min=64, max=2048, help="Side of the tile in the picture, in pixels.")
    ] = 512,
    opacity: Annotated[
        float, typer.Option(min=0, max=1, help="Opacity of the heat map where it is highest.")
    ] = 0.6,
) -> None:
    """Draw the evidence maps of a label over tiles.

    In a folder, pictures are named by the tiles: that of a/1.jpg is
    a/1.jpg.png. A tile is never overwritten.

    A tile:              osteo explain tile.jpg -o overlay.png
    A folder:            osteo explain slides/case-4 -o maps
    Transparent layers:  osteo explain *.jpg --picture heat -o layers

    Exit code 0: all pictures were written. 1: some were not, and an error says
    why. 2: there was nothing to try. 130: Ctrl-C.
    """
    with plain_errors():
        named = named_paths(tiles)
        destination = choose_destination(output, named, picture)
        search = search_named(named, destination.path if destination.is_folder else None)
        require_no_tile(destination, search.found)
        classifier = open_classifier(read_settings(), Metrics())
        classifier.require_label(label)
    draw = partial(_draw, classifier, label, picture, size_px, opacity)
    done: list[bool] = []
    try:
        with (
            closing(classifier),
            closing(answer_files(classifier, search.found, draw)) as outcomes,
            tracked(outcomes, len(search.found), "Explaining", is_terminal()) as followed,
        ):
            done.extend(_write_pictures(followed, destination))
    except KeyboardInterrupt:
        fail(f"Interrupted after {counted_files(len(done), search)}.", EXIT_INTERRUPTED)
    if not all(done):
        n_failed = len(done) - sum(done)
        fail(f"{counted_files(n_failed, search)} could not be explained.", EXIT_FAILED)


def _draw(
    classifier: Classifier,
    label: str,
    picture: Picture,
    size_px: int,
    opacity: float,
    tile_bytes: bytes,
) -> _Drawn:
    """Classify a tile and draw its map.

    Raises:
        ExplanationUnavailableError: there is nothing to draw.
    """
    result, drawn = classifier.classify_and_draw(
        tile_bytes, time.perf_counter(), label, picture, size_px, opacity
    )
    if isinstance(drawn, ExplanationUnavailableError):
        raise drawn
    return result, drawn


def _write_pictures(
    outcomes: Iterable[Outcome[_Drawn]], destination: Destination
) -> Iterator[bool]:
    """Write each picture and say so; yields whether there is one."""
    for outcome in outcomes:
        if outcome.result is None:
            say(f"{shown(outcome.path)}: {outcome.error}")
            yield False
            continue
        result, png = outcome.result
        path = destination.picture_of(outcome.path)
        try:
            write_picture(path, png)
        except OSError as error:
            sentence = f"{shown(path)} cannot be written: {reason_of(error)}."
            if concerns_all(error) or not destination.is_folder:
                fail(sentence, EXIT_FAILED)
            say(sentence)
            yield False
            continue
        _print_result(outcome.path, result, path)
        yield True


def _print_result(tile: Path, result: TileResult, picture: Path) -> None:
    probability = result.probabilities[result.prediction]
    reasons = ", ".join(result.review.reasons)
    review = f". For review: {reasons}." if result.review.required else ""
    typer.echo(f"{shown(tile)}: {result.prediction} ({probability:.3f}); {shown(picture)}{review}")
