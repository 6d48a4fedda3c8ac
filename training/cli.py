"""`osteo-train`: from a folder of labelled tiles to a released bundle.

Everything heavy is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from app.core.errors import OsteoError
from app.core.manifest import SplitKind
from training.config import RELEASED_CONFIG, read_config
from training.labels import MixedTiles
from training.progress import ERRORS
from training.terminal import (
    ConfigFile,
    DataDir,
    IndexFile,
    RunDir,
    Strict,
    TableOption,
    WeightsOption,
    fail,
    plain,
    print_counts,
    print_metrics,
    say,
)

P = ParamSpec("P")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Train the tile classifier and release it as a bundle. Research use only.

    Everything at once, for the released model:

    `OSTEO_DATA_DIR=~/tcia OSTEO_WEIGHTS=imagenet osteo-train release`

    Or step by step:

    `osteo-train index --data-dir ~/tcia --out runs/index.json`

    `osteo-train split --index runs/index.json --kind slide --out runs/slide.json`

    `osteo-train fit --index runs/index.json --split runs/slide.json --out runs/slide`

    `osteo-train evaluate runs/slide`
    """,
)


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Register a command whose expected errors are one sentence and exit code 1, no traceback."""

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

    app.command()(run)
    return run


@command
def index(
    data_dir: DataDir,
    out: Annotated[Path, typer.Option(help="The index file.")] = Path("runs/index.json"),
    table: TableOption = None,
    mixed_tiles: Annotated[
        MixedTiles, typer.Option(help="What becomes of `viable: non-viable` tiles.")
    ] = "viable",
    tile_side_px: Annotated[int, typer.Option(help="Side every tile must have.")] = 1024,
    strict: Strict = True,
) -> None:
    """Check every tile and row of the collection and write an index.

    Example: `osteo-train index --data-dir ~/tcia --mixed-tiles exclude --skip`
    """
    from training.index import build_index, require_no_problems, write_index  # noqa: PLC0415
    from training.progress import tracked  # noqa: PLC0415
    from training.table import find_table, read_table  # noqa: PLC0415

    found, problems = build_index(
        data_dir,
        read_table(table or find_table(data_dir)),
        mixed_tiles,
        tile_side_px,
        tracked("Checking tiles"),
    )
    if strict:
        require_no_problems(problems)
    for problem in problems:
        ERRORS.print(f"left out: {plain(problem)}", soft_wrap=True, highlight=False)
    sha256 = write_index(out, found)
    print_counts(found)
    n_slides = len({tile.slide for tile in found.tiles})
    say(f"{len(found.tiles)} tiles of {n_slides} slides; {len(problems)} left out.")
    say(f"{out}  sha256 {sha256}")


@command
def split(
    index_file: IndexFile = Path("runs/index.json"),
    kind: Annotated[SplitKind, typer.Option(help="What is never on both sides.")] = "slide",
    folds: Annotated[
        int | None,
        typer.Option(help="[default: 1 for random (90/10), 5 for slide; patient: one a case]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="[default: runs/KIND.json]")] = None,
    footprint_px: Annotated[
        int, typer.Option(help="Side of a tile in the pixels of its name, to count overlaps.")
    ] = 2048,
) -> None:
    """Decide which tiles are tested by models that did not see their like.

    Example: `osteo-train split --kind random --folds 1 --seed 3`
    """
    from training.index import read_index  # noqa: PLC0415
    from training.splits import count_overlaps, make_split, write_split  # noqa: PLC0415

    found, index_sha256 = read_index(index_file)
    n_folds = folds if folds is not None else (1 if kind == "random" else 5)
    made = make_split(found, index_sha256, kind, n_folds, seed)
    out = out or Path("runs") / f"{kind}.json"
    sha256 = write_split(out, made)
    for fold in made.folds:
        say(f"{fold.name}: {len(fold.test)} of {len(found.tiles)} tiles tested")
    overlaps = count_overlaps(found, made, footprint_px)
    say(f"{overlaps} overlapping pair(s) across the line, at {footprint_px} px a tile")
    say(f"{out}  sha256 {sha256}")


@command
def fit(
    data_dir: DataDir,
    out: Annotated[Path, typer.Option(help="Run folder.")],
    config_file: ConfigFile = RELEASED_CONFIG,
    index_file: IndexFile = Path("runs/index.json"),
    split_file: Annotated[
        Path | None,
        typer.Option("--split", help="Cross-validate over it. Without: fit on all tiles."),
    ] = None,
    weights: WeightsOption = None,
) -> None:
    """Train: cross-validate over a split, or fit on all tiles.

    Examples: `osteo-train fit --split runs/slide.json --out runs/slide`, then
    `osteo-train fit --out runs/final`
    """
    from training.features import read_tiles  # noqa: PLC0415
    from training.fit import Trainer  # noqa: PLC0415
    from training.index import read_index  # noqa: PLC0415
    from training.model import require_weights  # noqa: PLC0415
    from training.runs import (  # noqa: PLC0415
        class_indices_of,
        cross_validate,
        fit_all,
        require_same_labels,
        write_final_fit,
        write_run,
    )
    from training.splits import read_split  # noqa: PLC0415

    config = read_config(config_file, weights)
    require_weights(config.network.weights)
    found, index_sha256 = read_index(index_file)
    require_same_labels(found, config)
    chosen = read_split(split_file, index_sha256) if split_file else None
    trainer = Trainer(read_tiles(found, data_dir), class_indices_of(found), config)
    if chosen:
        run = cross_validate(trainer, found, *chosen, config)
        write_run(out, run)
        say(f"{run.n_right} of {len(run.answers)} right. Next: osteo-train evaluate {out}")
        return
    fitted = fit_all(trainer, found, config)
    write_final_fit(out, fitted, index_sha256, config)
    say(f"Fitted on {len(found.tiles)} tiles. Next: osteo-train export {out} --run RUN")


@command
def evaluate(
    run_dir: RunDir,
    temperature: Annotated[
        float, typer.Option(min=0.01, help="As `osteo-train calibrate` found it.")
    ] = 1.0,
) -> None:
    """Measure a cross-validation: metrics.json and three plots, written beside it.

    Example: `osteo-train evaluate runs/slide --temperature 1.8`
    """
    from training.evaluate import evaluate as measure  # noqa: PLC0415
    from training.plots import plot_confusion, plot_epochs, plot_reliability  # noqa: PLC0415
    from training.runs import read_cross_validation  # noqa: PLC0415

    run = read_cross_validation(run_dir)
    metrics = measure(run, temperature)
    path = run_dir / "metrics.json"
    path.write_text(metrics.model_dump_json(indent=1) + "\n", encoding="utf-8")
    plot_confusion(run_dir / "confusion.png", metrics)
    plot_epochs(run_dir / "epochs.png", run)
    plot_reliability(run_dir / "reliability.png", run, temperature)
    print_metrics(metrics)
    say(str(path))


@command
def calibrate(run_dir: RunDir) -> None:
    """Fit the temperature on a cross-validation by slide and print it.

    Example: `osteo-train calibrate runs/slide`
    """
    from training.calibrate import calibrate as fit_to  # noqa: PLC0415
    from training.runs import read_cross_validation  # noqa: PLC0415

    say(json.dumps({"temperature": fit_to(read_cross_validation(run_dir))}))


@command
def export(
    final_dir: Annotated[
        Path, typer.Argument(help="What `osteo-train fit` without a split wrote.")
    ],
    runs: Annotated[
        list[Path], typer.Option("--run", help="Cross-validations; one by slide is needed.")
    ],
    data_dir: DataDir,
    index_file: IndexFile = Path("runs/index.json"),
    models_dir: Annotated[Path, typer.Option(help="Receives NAME/VERSION/.")] = Path("models"),
) -> None:
    """Write a bundle from a fit on all tiles and its cross-validations, and check it.

    Example: `osteo-train export runs/final --run runs/random --run runs/slide --run runs/patient`
    """
    from training.assemble import assemble_bundle, remove_incomplete  # noqa: PLC0415
    from training.features import read_tiles  # noqa: PLC0415
    from training.index import read_index  # noqa: PLC0415
    from training.runs import read_cross_validation, read_final_fit  # noqa: PLC0415

    final, base_weights, head_weights = read_final_fit(final_dir)
    found, index_sha256 = read_index(index_file)
    crossed = [read_cross_validation(run_dir) for run_dir in runs]
    bundle_dir = models_dir / final.config.model_name / final.config.model_version
    weights = base_weights, head_weights
    try:
        tiles = read_tiles(found, data_dir)
        assemble_bundle(bundle_dir, found, index_sha256, tiles, weights, crossed, final.config)
    finally:
        remove_incomplete(bundle_dir)
    say(f"{bundle_dir}: checked, the runtimes agree.")


@command
def release(
    data_dir: DataDir,
    config_file: ConfigFile = RELEASED_CONFIG,
    weights: WeightsOption = None,
    table: TableOption = None,
    strict: Strict = True,
    runs_dir: Annotated[Path, typer.Option(help="Receives what lies between.")] = Path("runs"),
    models_dir: Annotated[Path, typer.Option(help="Receives NAME/VERSION/.")] = Path("models"),
) -> None:
    """Do all of it: index, three splits, cross-validations, calibration, fit, bundle, check.

    Example: `OSTEO_DATA_DIR=~/tcia OSTEO_WEIGHTS=imagenet osteo-train release`
    """
    from training.release import Folders, release_bundle  # noqa: PLC0415

    config = read_config(config_file, weights)
    folders = Folders(data_dir, runs_dir, models_dir)
    bundle_dir, manifest = release_bundle(config, folders, table, strict)
    for entry in manifest.metrics:
        say(
            f"{entry.split}: accuracy {entry.accuracy:.3f} ({entry.accuracy_low:.3f} to "
            f"{entry.accuracy_high:.3f}), {entry.n_folds} fold(s)"
        )
    say(f"{bundle_dir}: temperature {manifest.temperature:g}, checked, the runtimes agree.")


if __name__ == "__main__":
    app()
