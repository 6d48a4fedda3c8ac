"""What the commands share: options with their help, and how results are printed."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

from app.core.errors import OsteoError
from app.core.manifest import SplitMetrics
from training.config import RELEASED_CONFIG
from training.console.progress import ERRORS
from training.data.index import Index
from training.data.labels import MixedTiles
from training.evaluation.split_tables import (
    MIXED_POLICY,
    SPLIT_HEADER,
    case_header,
    case_rows,
    split_rows,
)
from training.storage.disk import is_of_the_disk, unwritable

P = ParamSpec("P")

OUT: Final = Console()

DataDir = Annotated[
    Path,
    typer.Option(
        envvar="OSTEO_DATA_DIR", help="The collection: holds `Training-Set-*` and the table."
    ),
]
IndexFile = Annotated[Path, typer.Option("--index", help="What `osteo-train index` wrote.")]
ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        help="A TOML file, such as those of `training/configs/`.",
        show_default=RELEASED_CONFIG.name,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        envvar="OSTEO_WEIGHTS",
        help="`imagenet`, `none` or the path of the system's weights; overrules the TOML.",
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        help="CSV with the columns image.name and classification. [default: the one in the folder]",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict/--skip", help="Stop at a tile that breaks a rule, or leave it out and say so."
    ),
]
RunDir = Annotated[Path, typer.Argument(help="What `osteo-train fit --split` wrote.")]


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """A command whose expected errors are one sentence and exit code 1, no traceback."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        # TensorFlow tells standard error about its build at import, and about every fold's new
        # graph; nobody asked.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        try:
            function(*args, **kwargs)
        except ModuleNotFoundError as error:
            fail(f"{error.name} is not installed. For training, run 'make test' first.", error)
        except OsteoError as error:
            fail(str(error), error)
        except OSError as error:
            if not is_of_the_disk(error):
                raise
            fail(unwritable(error.filename, error), error)

    return run


@contextmanager
def stoppable() -> Iterator[None]:
    """Work that Ctrl-C may stop: one sentence and exit code 130, no traceback."""
    try:
        yield
    except KeyboardInterrupt:
        ERRORS.print("Stopped. Give the same command again: it goes on where it was.")
        raise typer.Exit(130) from None


def print_counts(index: Index) -> None:
    """A table of an index: tiles by case and label."""
    labels = sorted(set(index.labels))
    table = Table("case", *labels)
    for case in sorted({tile.case for tile in index.tiles}):
        of_case = [tile.label for tile in index.tiles if tile.case == case]
        table.add_row(case, *(str(of_case.count(label)) for label in labels))
    OUT.print(table)


def print_metrics(metrics: SplitMetrics) -> None:
    """A table of metrics by label, and a line for all of them."""
    table = Table("label", "tiles", "precision", "recall", "F1")
    for entry in metrics.classes:
        values = (_shown(value) for value in (entry.precision, entry.recall, entry.f1))
        table.add_row(entry.label, str(entry.support), *values)
    tumor = _shown(metrics.tumor_precision), _shown(metrics.tumor_recall)
    table.add_row("tumour or not", "", *tumor, "")
    OUT.print(table)
    say(
        f"accuracy {metrics.accuracy:.3f} ({metrics.accuracy_low:.3f} to "
        f"{metrics.accuracy_high:.3f}, slides resampled), ECE {metrics.ece:.3f}, "
        f"log loss {metrics.log_loss:.3f}"
    )


def print_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of text; markup in it is shown as it is."""
    table = Table(*header)
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    OUT.print(table)


def print_splits(metrics: Sequence[SplitMetrics], mixed_tiles: MixedTiles) -> None:
    """The three kinds of split side by side, the cases left out, and the mixed-tile policy."""
    splits = Table(*SPLIT_HEADER)
    for title, *cells in split_rows(metrics):
        splits.add_row(title.partition(":")[0], *cells)  # 80 columns are few
    OUT.print(splits)
    cases = Table(*case_header())
    for row in case_rows(metrics):
        cases.add_row(*row)
    if cases.row_count:
        OUT.print(cases)
    say(f"Intervals resample slides. Mixed tiles: {MIXED_POLICY[mixed_tiles]}.")


def say(line: str) -> None:
    """A line of result, on standard output."""
    OUT.print(line, soft_wrap=True, highlight=False, markup=False)


def plain(value: object) -> str:
    """Text with Rich's markup disarmed."""
    return str(value).replace("[", "\\[")


def _shown(value: float | None) -> str:
    return "unavailable" if value is None else f"{value:.3f}"


def fail(sentence: str, cause: Exception) -> NoReturn:
    """End the command: one sentence on standard error, exit code 1, no traceback."""
    ERRORS.print(f"[red]error:[/red] {plain(sentence)}", soft_wrap=True, highlight=False)
    raise typer.Exit(1) from cause
