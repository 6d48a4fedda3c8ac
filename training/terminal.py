"""What the commands share: options with their help, and how results are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from training.config import RELEASED_CONFIG

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
        help="`imagenet`, or the path of MobileNetV2 weights; overrules the configuration.",
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


def shown(value: float | None) -> str:
    """A metric for a table; what could not be measured says so."""
    return "unavailable" if value is None else f"{value:.3f}"


def say(line: str) -> None:
    """A line of result, on standard output."""
    OUT.print(line, soft_wrap=True, highlight=False, markup=False)


def plain(value: object) -> str:
    """Text with Rich's markup disarmed."""
    return str(value).replace("[", "\\[")
