"""Release bundles from runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.mlflow import log_runs, open_sink
from training.commands.options import (
    ConfigFile,
    DataDir,
    FeatureTableOption,
    IndexFile,
    LayoutOption,
    MlflowOption,
    Strict,
    TableOption,
    ThumbnailsOption,
    WeightsOption,
    guarded,
    stoppable,
)
from training.commands.output import notes_on, print_split_kinds, say
from training.config import RELEASED_CONFIG, read_config
from training.errors import RunError

app = typer.Typer()

_NestedAnswers = Annotated[
    Path | None,
    typer.Option(
        "--nested",
        help="`answers.csv` of `osteo-train nested`; the model card then says how the choice of "
        "the recipe does on cases that it did not see.",
    ),
]
_ModelsDir = Annotated[Path, typer.Option(help="Folder in which NAME/VERSION/ is created.")]


@app.command()
@guarded
def export(
    final_dir: Annotated[
        Path, typer.Argument(help="A folder that `osteo-train fit` without a split wrote.")
    ],
    runs: Annotated[
        list[Path],
        typer.Option(
            "--run", help="A cross-validation; repeat for more. One by slide is required."
        ),
    ],
    data_dir: DataDir,
    index_file: IndexFile = Path("runs/index.json"),
    models_dir: _ModelsDir = Path("models"),
    nested: _NestedAnswers = None,
) -> None:
    """Write and check a bundle from a fit on all tiles and its cross-validations.

    Example: `osteo-train export runs/final --run runs/random --run runs/slide --run runs/patient`
    """
    from training.data.index import read_index
    from training.data.labelled_tiles import LabelledTiles
    from training.data.tiles import TileStream
    from training.evaluation.nested_answers import read_nested_answers
    from training.features.supplements import read_supplements
    from training.release.assembly import assemble_bundle
    from training.runs.records import read_cross_validation, read_final_fit

    for run_dir in (final_dir, *runs):
        _require_pixels(run_dir)
    final, backbone_weights, head_weights = read_final_fit(final_dir)
    found, index_sha256 = read_index(index_file)
    crossed = [read_cross_validation(run_dir) for run_dir in runs]
    config = final.config
    bundle_dir = models_dir / config.model_name / config.model_version
    tiles = TileStream(found, data_dir, config.network.input_side_px)
    labelled = LabelledTiles(found, index_sha256, data_dir, tiles)
    weights = backbone_weights, head_weights
    supplements = read_supplements(config, found, data_dir)
    result = None if nested is None else read_nested_answers(nested, found, config.labels)
    assemble_bundle(bundle_dir, labelled, weights, crossed, config, supplements, result)
    say(f"{bundle_dir}: checked; the runtimes agree.")


@app.command()
@guarded
def release(  # noqa: PLR0913, PLR0917 # each option of the command is an argument
    data_dir: DataDir,
    config_file: ConfigFile = RELEASED_CONFIG,
    weights: WeightsOption = None,
    thumbnails: ThumbnailsOption = None,
    feature_table: FeatureTableOption = None,
    table: TableOption = None,
    layout: LayoutOption = "auto",
    strict: Strict = True,
    runs_dir: Annotated[Path, typer.Option(help="Folder for index, splits and runs.")] = Path(
        "runs"
    ),
    models_dir: _ModelsDir = Path("models"),
    mlflow: MlflowOption = None,
    nested: _NestedAnswers = None,
) -> None:
    """Run every step: index, three splits, cross-validations, calibration, fit, bundle, check.

    Stopped or killed, the same command resumes where it stopped.

    Example: `OSTEO_DATA_DIR=~/tcia OSTEO_WEIGHTS=imagenet osteo-train release`
    """
    from training.release.pipeline import Folders, release_bundle
    from training.runs.records import read_cross_validation, read_final_fit

    config = read_config(config_file, weights, thumbnails, feature_table)
    sink = open_sink(mlflow, config.model_name)
    folders = Folders(data_dir, runs_dir, models_dir)
    with stoppable():
        bundle_dir, manifest = release_bundle(config, folders, table, layout, strict, nested)
    kinds = [entry.split for entry in manifest.metrics]
    log_runs(sink, {kind: read_cross_validation(runs_dir / kind) for kind in kinds})
    log_runs(sink, {"final": read_final_fit(runs_dir / "final")[0]})
    print_split_kinds(manifest.metrics, manifest.labels, notes_on(manifest.data))
    say(f"{bundle_dir}: temperature {manifest.temperature:g}, checked; the runtimes agree.")


def _require_pixels(run_dir: Path) -> None:
    """Refuse a run of a table system, before asking for a fit on all tiles, which it cannot have.

    Raises:
        RunError: the folder has a cross-validation of such a system.
    """
    from training.networks.registry import pixel_system
    from training.runs.records import read_cross_validation

    try:
        run = read_cross_validation(run_dir)
    except RunError:
        return  # there is none, or it is a fit on all tiles; `export` reads it next
    pixel_system(run.config.network.system)
