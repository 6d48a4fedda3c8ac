"""Assemble a bundle from runs: model files, golden tiles, assessment, plots, card, manifest."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.markup import escape

from app import __version__
from app.core.manifest import MODEL_CARD_NAME, Manifest, SplitMetrics
from training.config import SourceConfig, TrainingConfig
from training.console.progress import ERRORS, stepped
from training.data.index import Index
from training.data.labelled_tiles import LabelledTiles
from training.data.labels import is_mixed
from training.data.overlaps import FOOTPRINTS_PX
from training.data.splits import Fold, Split
from training.data.tiles import some_of
from training.errors import RunError
from training.evaluation.calibration import calibrate, calibrating_run
from training.evaluation.leakage import Leaks, find_leaks
from training.evaluation.metrics import evaluate
from training.evaluation.nested_answers import NestedResult
from training.evaluation.plots import plot_confusion, plot_epochs, plot_reliability
from training.features.supplements import NO_SUPPLEMENTS, Supplements
from training.networks.graphs import Weights
from training.release.bundle import complete_bundle, file_entries, new_bundle
from training.release.export import N_EXPORT_STEPS, export_models
from training.release.golden_tiles import write_golden_tiles
from training.release.model_card import CardFacts, write_card
from training.release.provenance import (
    describe_data,
    describe_input,
    describe_supplements,
    describe_weights,
    licence_warning,
)
from training.release.quantize import CalibrationSet
from training.reliability.bundle_assessment import assess_bundle
from training.runs.records import CrossValidation

INTENDED_USE: Final = "Research use only. Not a medical device; not for diagnosis or treatment."
_N_CALIBRATION_TILES: Final = 1200
"""Largest calibration set of the int8 file: the whole collection, or 180 MB of a larger one."""
_PLOTS_NAME: Final = "plots"
_N_STEPS: Final = N_EXPORT_STEPS + 3
_SOFTWARE: Final = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn")


def assemble_bundle(
    bundle_dir: Path,
    labelled: LabelledTiles,
    weights: tuple[Weights, Weights],
    runs: Sequence[CrossValidation],
    config: TrainingConfig,
    supplements: Supplements = NO_SUPPLEMENTS,
    nested: NestedResult | None = None,
) -> Manifest:
    """Write a bundle and check it as the service will; one that fails is removed.

    Args:
        bundle_dir: `NAME/VERSION`; must not exist, because a released bundle never changes.
        labelled: the training tiles; up to 1,200 of them calibrate the int8 file.
        weights: backbone and head weights of the fit on all tiles.
        runs: cross-validations with the same configuration, one of them by slide (or by another
            split if slides are unknown).
        config: the resolved configuration.
        supplements: what else taught the model.
        nested: how the choice of the recipe does on cases that it did not see, for the card.

    Raises:
        RunError: the bundle exists, a run does not match, or the runtimes disagree.
        GoldenTileError: a runtime does not reproduce the golden tiles.
    """
    index, index_sha256 = labelled.index, labelled.index_sha256
    _require_matching(index_sha256, runs, config)
    source = describe_weights(config.network.weights, config.network.entry)
    if (warning := licence_warning(source)) is not None:
        ERRORS.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    with new_bundle(bundle_dir) as draft, stepped("Exporting", _N_STEPS) as begin:
        chosen, labels = calibrating_run(index, runs), config.labels.for_manifest
        temperature = calibrate(chosen)
        metrics = tuple(evaluate(run, temperature) for run in runs)
        tiles = some_of(labelled.tiles, _N_CALIBRATION_TILES)
        calibration_set = CalibrationSet(tiles, temperature, index_sha256)
        exported = export_models(draft, *weights, calibration_set, config.network, begin)
        begin("golden tiles and plots")
        write_golden_tiles(draft, config.network.input_side_px, labels, temperature)
        _write_plots(draft / _PLOTS_NAME, runs, metrics, chosen, temperature)
        begin("measurements for the card")
        record, report = assess_bundle(draft, labelled, runs, temperature)
        manifest = Manifest(
            model_name=config.model_name,
            model_version=config.model_version,
            created=datetime.now(UTC).replace(microsecond=0),
            intended_use=INTENDED_USE,
            labels=labels,
            input=describe_input(index, config),
            embedding_size=exported.embedding_size,
            cam_shape=exported.cam_shape,
            temperature=temperature,
            training=_without_paths(config),
            data=describe_data(index, index_sha256, config.data.source),
            supplements=describe_supplements(supplements),
            weights=source,
            metrics=metrics,
            int8=exported.int8,
            assessment=record,
            software={"osteo-tiles": __version__, "python": platform.python_version()}
            | {name: version(name) for name in _SOFTWARE},
            files={},
        )
        is_collection = index.layout == "collection"
        card = CardFacts(
            report=report,
            calibrated_by=chosen.kind,
            n_mixed=sum(is_mixed(tile.raw_label) for tile in index.tiles) if is_collection else 0,
            leaks=[leak for run in runs if run.kind == "random" for leak in _leaks_of(index, run)],
            source=None if is_collection else config.data.source or SourceConfig(),
            nested=nested,
        )
        write_card(draft / MODEL_CARD_NAME, manifest, card)
        begin("check")
        return complete_bundle(draft, manifest, file_entries(draft))


def _require_matching(
    index_sha256: str, runs: Sequence[CrossValidation], config: TrainingConfig
) -> None:
    for run in runs:
        if run.index_sha256 != index_sha256 or run.config != config:
            raise RunError(
                f"The cross-validation by {run.kind} and the fit on all tiles have different "
                "indexes or configurations, so its metrics do not describe this model."
            )


def _leaks_of(index: Index, run: CrossValidation) -> list[Leaks]:
    """Leaks of the split of a run, at every candidate footprint; none if corners are unknown."""
    if not index.knows_corners:
        return []
    tested = {fold: [a.tile for a in run.answers if a.fold == fold] for fold in run.folds}
    folds = tuple(Fold(name=fold, test=tuple(tiles)) for fold, tiles in tested.items())
    split = Split(kind=run.kind, seed=None, index_sha256=run.index_sha256, folds=folds)
    return [find_leaks(index, split, footprint_px) for footprint_px in FOOTPRINTS_PX]


def _write_plots(
    plots_dir: Path,
    runs: Sequence[CrossValidation],
    metrics: Sequence[SplitMetrics],
    calibrating: CrossValidation,
    temperature: float,
) -> None:
    plots_dir.mkdir()
    for run, measured in zip(runs, metrics, strict=True):
        plot_confusion(plots_dir / f"confusion-{run.kind}.png", measured, run.config.labels)
        if run is calibrating:
            plot_epochs(plots_dir / f"epochs-{run.kind}.png", run)
            plot_reliability(plots_dir / f"reliability-{run.kind}.png", run, temperature)


def _without_paths(config: TrainingConfig) -> dict[str, Any]:
    document = config.model_dump(mode="json")
    document["network"]["weights"] = Path(config.network.weights).name
    supplements = document["supplements"]
    document["supplements"] = {key: Path(path).name for key, path in supplements.items()}
    return document
