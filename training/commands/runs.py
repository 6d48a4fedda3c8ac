"""Fit, evaluate and calibrate training runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from training.commands.mlflow import log_runs, open_sink
from training.commands.options import (
    ConfigFile,
    DataDir,
    FeatureTableOption,
    IndexFile,
    MlflowOption,
    RunDir,
    ThumbnailsOption,
    WeightsOption,
    guarded,
    stoppable,
)
from training.commands.output import (
    notes_on_run,
    plain,
    print_metrics,
    print_rows,
    print_split_kinds,
    say,
)
from training.config import RELEASED_CONFIG, read_config
from training.console.plural import plural
from training.console.progress import ERRORS

app = typer.Typer()


@app.command()
@guarded
def fit(  # noqa: PLR0913, PLR0917 # each option of the command is an argument
    data_dir: DataDir,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    config_file: ConfigFile = RELEASED_CONFIG,
    index_file: IndexFile = Path("runs/index.json"),
    split_file: Annotated[
        Path | None,
        typer.Option(
            "--split", help="Cross-validate over this split; without it, fit on all tiles."
        ),
    ] = None,
    weights: WeightsOption = None,
    thumbnails: ThumbnailsOption = None,
    feature_table: FeatureTableOption = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            help="Store the backbone's features here for later runs with the same views, such as "
            "`runs/cache`. [default: stored until the run is finished]",
            show_default=False,
        ),
    ] = None,
    mlflow: MlflowOption = None,
) -> None:
    """Train: cross-validate over a split, or fit on all tiles.

    Stopped or killed, the same command resumes where it stopped.

    Examples: `osteo-train fit --split runs/slide.json --out runs/slide`, then
    `osteo-train fit --out runs/final`
    """
    from training.data.index import read_index
    from training.data.splits import read_split
    from training.distributed import distributed, is_chief
    from training.features.supplements import read_supplements
    from training.gan.supply import supply_synthetic, training_parts
    from training.networks.graphs import require_weights
    from training.networks.table_systems import find_table_system
    from training.runs.cross_validation import FitTask, Fitting
    from training.runs.records import read_cross_validation, read_final_fit, require_trainable
    from training.runs.resume import resumable_features_dir

    config = read_config(config_file, weights, thumbnails, feature_table)
    sink = open_sink(mlflow, config.model_name)
    if find_table_system(config.network.system) is None:
        require_weights(config.network.weights, config.network.entry)
    found, index_sha256 = read_index(index_file, needs_pixels=False)
    require_trainable(found, config)
    chosen = read_split(split_file, index_sha256) if split_file else None
    trains = training_parts(found, [chosen[0]] if chosen else [], whole=chosen is None)
    synthetic = supply_synthetic(config, found, trains)
    supplements = read_supplements(config, found, data_dir)
    task = FitTask(found, index_sha256, data_dir, config, synthetic, supplements)
    with stoppable(), distributed(config.distribute.strategy):
        fitting = Fitting(task, cache_dir or resumable_features_dir(out))
        if chosen:
            fitting.cross_validate(*chosen, out)
        else:
            fitting.fit_all(out)
        if not is_chief():
            say("Done. The first worker has written the results.")
        elif chosen:
            run = read_cross_validation(out)
            log_runs(sink, {str(out): run})
            say(f"{run.n_correct} of {len(run.answers)} correct. Next: osteo-train evaluate {out}")
        else:
            tiles = plural(len(found.tiles), "tile")
            log_runs(sink, {str(out): read_final_fit(out)[0]})
            say(f"Fitted on {tiles}. Next: osteo-train export {out} --run RUN")


@app.command()
@guarded
def evaluate(
    run_dir: RunDir,
    temperature: Annotated[
        float, typer.Option(min=0.01, help="The value that `osteo-train temperature` printed.")
    ] = 1.0,
) -> None:
    """Evaluate a cross-validation: write metrics.json and three plots into its folder.

    It is printed side by side with the runs over the other kinds of split that have the same
    configuration, if the folders `random`, `slide` and `patient` beside it contain any.

    Example: `osteo-train evaluate runs/slide --temperature 1.8`
    """
    from training.evaluation.metrics import evaluate as measure
    from training.evaluation.plots import plot_confusion, plot_epochs, plot_reliability
    from training.runs.records import METRICS_NAME, read_cross_validation, read_split_kinds
    from training.storage.atomic import write_bytes_whole
    from training.storage.disk import writing

    run = read_cross_validation(run_dir)
    labels = run.config.labels
    metrics = measure(run, temperature)
    with writing(run_dir):
        plot_confusion(run_dir / "confusion.png", metrics, labels)
        plot_epochs(run_dir / "epochs.png", run)
        plot_reliability(run_dir / "reliability.png", run, temperature)
        path = run_dir / METRICS_NAME
        write_bytes_whole(path, metrics.model_dump_json(indent=1).encode() + b"\n")
    print_metrics(metrics)
    kinds = [measure(run, temperature) for run in read_split_kinds(run_dir)]
    print_split_kinds(kinds, labels.for_manifest, notes_on_run(run))
    say(str(path))


@app.command()
@guarded
def compare(
    run_dirs: Annotated[
        list[Path], typer.Argument(help="Folders that `osteo-train fit --split` wrote.")
    ],
    out: Annotated[Path, typer.Option(help="PNG with the learning curves.")] = Path(
        "runs/compare.png"
    ),
) -> None:
    """Compare cross-validations: results, settings that differ, learning curves.

    Example: `osteo-train compare runs/slide runs/slide-dropout --out runs/dropout.png`
    """
    from training.evaluation.comparison import (
        COMPARISON_HEADER,
        comparison_rows,
        differing_settings,
        incomparable,
        names_of,
    )
    from training.evaluation.plots import plot_comparison
    from training.runs.records import read_cross_validation

    crossed = [read_cross_validation(run_dir) for run_dir in run_dirs]
    runs = dict(zip(names_of(run_dirs), crossed, strict=True))
    print_rows(COMPARISON_HEADER, comparison_rows(runs))
    differing = differing_settings(runs)
    if differing:
        print_rows(("setting", *runs), differing)
    else:
        say("All settings are the same.")
    say("Intervals resample slides. The log loss is before temperature scaling.")
    for reason in incomparable(runs):
        ERRORS.print(f"[yellow]warning:[/yellow] {plain(reason)}", soft_wrap=True, highlight=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    plot_comparison(out, runs)
    say(str(out))


@app.command()
@guarded
def temperature(run_dir: RunDir) -> None:
    """Fit the temperature on a cross-validation by slide, and print it.

    Example: `osteo-train temperature runs/slide`
    """
    from training.evaluation.calibration import calibrate
    from training.runs.records import read_cross_validation

    say(json.dumps({"temperature": calibrate(read_cross_validation(run_dir))}))
