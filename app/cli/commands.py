"""The command `osteo`: run the service, classify and explain tiles without it, check the setup."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from app import __version__
from app.cli.doctor import examine
from app.cli.files import FileOutcome, classify_files, find_tiles, read_tile
from app.cli.output import PRINTERS, Format
from app.core.errors import OsteoError
from app.inference.explanation import PREDICTED
from app.inference.heatmap import Picture
from app.inference.results import RESEARCH_USE
from app.serving.loading import open_classifier
from app.settings import read_settings
from app.telemetry.metrics import Metrics

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

app = typer.Typer(
    help=f"Classify osteosarcoma histology tiles.\n\n{RESEARCH_USE}",
    epilog="Settings are environment variables OSTEO_*. docs/settings.md lists them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_stdout = Console(highlight=False, emoji=False)
_stderr = Console(stderr=True, highlight=False, emoji=False)


@contextmanager
def _plain_errors(exit_code: int = EXIT_USAGE) -> Iterator[None]:
    """Print a deliberate error as one sentence, without a traceback, and exit."""
    try:
        yield
    except OsteoError as error:
        _fail(str(error), exit_code)


def _fail(sentence: str, exit_code: int) -> NoReturn:
    _stderr.print(f"osteo: {sentence}", soft_wrap=True, markup=False)
    raise typer.Exit(exit_code)


def _print_version(wanted: bool) -> None:
    if wanted:
        _stdout.print(f"osteo {__version__}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options of all commands."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [OSTEO_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [OSTEO_PORT].")] = None,
) -> None:
    """Run the HTTP service until SIGTERM or Ctrl-C.

    Classify a tile:  curl -F file=@tile.jpg http://127.0.0.1:8000/v1/classify

    Read the API pages:  http://127.0.0.1:8000/docs

    Exit code 0: it stopped as asked. 1: it could not start (the port is taken, or the address is
    not one of this machine), or work did not end within the drain time. 2: a setting is wrong.
    """
    from app.server.listener import url_of
    from app.server.run import serve as run_server

    given = {"host": host, "port": port}
    overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with _plain_errors():
        settings = read_settings(**overrides)
    if sys.stderr.isatty():
        pages = f"{url_of(settings.host, settings.port)}/docs"
        where = pages if settings.port else "on a free port, which the log names"
        line = f"osteo {__version__}: {where} - {RESEARCH_USE}"
        _stderr.print(line, soft_wrap=True, markup=False)  # IPv6 looks like it
    raise typer.Exit(run_server(settings))


@app.command()
def classify(
    paths: Annotated[list[Path], typer.Argument(help="Tiles, and folders to search for tiles.")],
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="Output format.")
    ] = "table",
) -> None:
    """Classify tiles without a server, with the same code and the same answers.

    Exit code 0: all tiles were classified. 1: some were not. 2: none could be tried.

    Example:  osteo classify slides/case-4 --format csv > case-4.csv
    """
    try:
        files = find_tiles(paths)
    except FileNotFoundError as error:
        _fail(f"No such file or folder: {error}.", EXIT_USAGE)
    if not files:
        _fail(f"No tiles (JPEG, PNG, TIFF, WebP) in {', '.join(map(str, paths))}.", EXIT_USAGE)
    n_failed = 0

    def count_failures(outcomes: Iterable[FileOutcome]) -> Iterator[FileOutcome]:
        nonlocal n_failed
        for outcome in outcomes:
            n_failed += outcome.result is None
            yield outcome

    with _plain_errors():
        classifier = open_classifier(read_settings(), Metrics())
    with closing(classifier):
        outcomes = track(
            classify_files(classifier, files),
            description="Classifying",
            total=len(files),
            console=_stderr,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        PRINTERS[output_format](count_failures(outcomes), classifier.bundle.manifest.label_ids)
    if n_failed:
        files_word = "file" if len(files) == 1 else "files"
        _fail(f"{n_failed} of {len(files)} {files_word} could not be classified.", EXIT_FAILED)


@app.command()
def explain(
    tile: Annotated[Path, typer.Argument(help="A tile: JPEG, PNG, TIFF or WebP.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
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
    """Draw the evidence map of a label over a tile (Grad-CAM).

    Exit code 1: there is nothing to draw; the error says why.

    Example:  osteo explain tile.jpg -o overlay.png
    """
    if output.exists() and tile.exists() and output.samefile(tile):
        _fail(f"{output} is the tile itself; choose another output file.", EXIT_USAGE)
    with _plain_errors():
        classifier = open_classifier(read_settings(), Metrics())
        classifier.require_label(label)
    with _plain_errors(EXIT_FAILED), closing(classifier):
        try:
            tile_bytes = read_tile(tile, classifier.limits.max_bytes)
        except OSError as error:
            _fail(f"{tile} cannot be read: {error.strerror}.", EXIT_USAGE)
        result = classifier.classify(tile_bytes, explain=label)
        drawn = classifier.draw(tile_bytes, result, picture, size_px, opacity)
        _write_file(output, drawn)
    probability = result.probabilities[result.prediction]
    typer.echo(f"{tile}: {result.prediction} ({probability:.3f}); {output}")
    if result.review.required:
        typer.echo(f"For review: {', '.join(result.review.reasons)}.")


def _write_file(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        _fail(f"{path} cannot be written: {error.strerror}.", EXIT_USAGE)


@app.command()
def doctor() -> None:
    """Check packages and bundle, and whether the model answers as it did at release."""
    n_failed = 0
    with _plain_errors():
        for finding in examine(read_settings()):
            n_failed += finding.is_ok is False
            mark = {True: "[green]ok  [/]", False: "[red]FAIL[/]", None: "    "}[finding.is_ok]
            _stdout.print(
                f"{mark} {escape(f'{finding.what:<26} {finding.detail}')}", soft_wrap=True
            )
    if n_failed:
        raise typer.Exit(EXIT_FAILED)
