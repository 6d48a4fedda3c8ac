"""Options that several commands have, and how errors and Ctrl-C end a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn, ParamSpec

import typer

from app.core.errors import OsteoError
from training.commands.output import plain
from training.config import RELEASED_CONFIG
from training.console.native_output import native_output_hidden
from training.console.progress import ERRORS
from training.storage.disk import describe_file_error, is_file_error

P = ParamSpec("P")
_KEYWORD: Final = inspect.Parameter.KEYWORD_ONLY

DataDir = Annotated[
    Path,
    typer.Option(
        envvar="OSTEO_DATA_DIR",
        help="The folder with the tiles and their table.",
    ),
]
IndexFile = Annotated[
    Path, typer.Option("--index", help="The file that `osteo-train index` wrote.")
]
ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        help="A TOML file, such as those in `training/configs/`.",
        show_default=RELEASED_CONFIG.name,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        envvar="OSTEO_WEIGHTS",
        help="`imagenet`, `none` or the path of the system's weights; overrides the TOML file.",
    ),
]
ThumbnailsOption = Annotated[
    Path | None,
    typer.Option(
        "--thumbnails",
        envvar="OSTEO_THUMBNAILS",
        help="Folder of low-resolution tiles, LABEL/NAME.png, that also teach; overrides the TOML "
        "file, if that shows tiles at low resolution.",
    ),
]
FeatureTableOption = Annotated[
    Path | None,
    typer.Option(
        "--feature-table",
        envvar="OSTEO_FEATURE_TABLE",
        help="The collection's feature table, whose rows teach the texture part of the head; "
        "overrides the TOML file, if that gives texture a weight.",
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        help="A table with the columns image.name and classification, or file and label. "
        "[default: the one in the folder]",
    ),
]
LayoutOption = Annotated[
    Literal["auto", "collection", "table", "folders"],
    typer.Option(
        "--layout",
        help="How the folder names its tiles: as the `collection`, by a plain `table`, or in "
        "`folders` named after labels; `auto` finds out.",
    ),
]
MlflowOption = Annotated[
    str | None,
    typer.Option(
        "--mlflow",
        envvar="MLFLOW_TRACKING_URI",
        help="Also log the finished run to this MLflow server, such as `http://127.0.0.1:5000`.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict/--skip", help="Fail on tiles that break a rule, or leave them out and list them."
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", help="Show what TensorFlow and LiteRT print, too."),
]
RunDir = Annotated[Path, typer.Argument(help="A folder that `osteo-train fit --split` wrote.")]


def guarded(function: Callable[P, None]) -> Callable[..., None]:
    """Make a command report expected errors in one sentence with exit code 1, no traceback.

    The command gets the option `--verbose`; without it, native libraries print nothing.
    """

    @functools.wraps(function)
    def run(*args: Any, verbose: bool = False, **kwargs: Any) -> None:
        if verbose:
            _report_errors(function, *args, **kwargs)
            return
        with native_output_hidden() as show_hidden:
            try:
                _report_errors(function, *args, **kwargs)
            except typer.Exit:
                raise
            except Exception:
                show_hidden()
                raise

    signature = inspect.signature(function, eval_str=True)
    option = inspect.Parameter("verbose", _KEYWORD, default=False, annotation=Verbose)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined] # read by Typer
        parameters=[*signature.parameters.values(), option]
    )
    run.__annotations__ = {name: p.annotation for name, p in run.__signature__.parameters.items()}  # type: ignore[attr-defined] # as above
    return run


def _report_errors(function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        function(*args, **kwargs)
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed. Run 'make train' to install it.", error)
    except OsteoError as error:
        fail(str(error), error)
    except OSError as error:
        if not is_file_error(error):
            raise
        fail(describe_file_error(error), error)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C stop the work with one sentence and exit code 130, no traceback."""
    try:
        yield
    except KeyboardInterrupt:
        ERRORS.print("Stopped. Run the same command again: it resumes where it stopped.")
        raise typer.Exit(130) from None


def fail(sentence: str, cause: Exception) -> NoReturn:
    """End the command: one sentence on standard error, exit code 1, no traceback."""
    ERRORS.print(f"[red]error:[/red] {plain(sentence)}", soft_wrap=True, highlight=False)
    raise typer.Exit(1) from cause
