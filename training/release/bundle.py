"""Assemble a bundle from runs: model files, golden tiles, plots, card, manifest; then check it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app import __version__
from app.bundle import check_golden_tiles, open_bundle, read_golden_tiles
from app.core.manifest import (
    MANIFEST_NAME,
    MODEL_CARD_NAME,
    FileEntry,
    InputContract,
    Manifest,
    SplitMetrics,
    sha256_of_file,
    write_manifest,
)
from app.runtime.litert import LiteRtRuntime
from app.runtime.protocol import Runtime
from app.runtime.savedmodel import SavedModelRuntime
from training.config import TrainingConfig
from training.data.labelled_tiles import LabelledTiles
from training.data.labels import LABELS, MIXED_RAW_LABEL
from training.data.tiles import some_of
from training.errors import RunError
from training.evaluation.leakage import leaks_of
from training.evaluation.metrics import evaluate
from training.evaluation.plots import plot_confusion, plot_epochs, plot_reliability
from training.evaluation.temperature import calibrate
from training.networks.graphs import Weights
from training.release.export import export_models
from training.release.golden_tiles import write_golden_tiles
from training.release.model_card import write_card
from training.release.provenance import describe_data, describe_weights
from training.release.quantize import Calibration
from training.reliability.assess import assess_bundle
from training.runs.records import CrossValidation

PARITY: Final = 1e-3
"""Largest difference of a logit between the two runtimes."""
INTENDED_USE: Final = "Research use only. Not a medical device; not for diagnosis or treatment."
_N_CALIBRATED: Final = 1200
"""Tiles that an int8 file is made and judged with: all of the collection, or 180 MB of more."""
_PLOTS_NAME: Final = "plots"
_SOFTWARE: Final = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn")


def assemble_bundle(
    bundle_dir: Path,
    labelled: LabelledTiles,
    weights: tuple[Weights, Weights],
    runs: Sequence[CrossValidation],
    config: TrainingConfig,
) -> Manifest:
    """Write a bundle and check it as the service will.

    Args:
        bundle_dir: `NAME/VERSION`; it must not exist, since a released bundle never changes.
        labelled: the tiles that were trained on; int8 is calibrated on them, or on
            some of very many.
        weights: the base network's and the head's, of the fit on all tiles.
        runs: cross-validations with the same configuration; one by slide must be among them.
        config: the resolved configuration.

    Raises:
        RunError: there is a bundle already, runs disagree, or the runtimes do.
        GoldenTileError: a runtime does not reproduce the golden tiles.
    """
    index, index_sha256 = labelled.index, labelled.index_sha256
    _require_matching(bundle_dir, index_sha256, runs, config)
    by_slide = next(run for run in runs if run.kind == "slide")
    temperature = calibrate(by_slide)
    metrics = tuple(evaluate(run, temperature) for run in runs)
    tiles = some_of(labelled.tiles, _N_CALIBRATED)
    calibration = Calibration(tiles, temperature, index_sha256)
    exported = export_models(bundle_dir, *weights, calibration, config.network)
    write_golden_tiles(bundle_dir, config.network.input_side_px)
    _write_plots(bundle_dir / _PLOTS_NAME, runs, metrics, temperature)
    record, report = assess_bundle(
        bundle_dir, labelled, runs, temperature, exported.int8 is not None
    )
    manifest = Manifest(
        model_name=config.model_name,
        model_version=config.model_version,
        created=datetime.now(UTC).replace(microsecond=0),
        intended_use=INTENDED_USE,
        labels=LABELS,
        input=InputContract(
            side_px=config.network.input_side_px, tile_side_px=config.data.tile_side_px
        ),
        embedding_size=exported.embedding_size,
        cam_shape=exported.cam_shape,
        temperature=temperature,
        training=_without_paths(config),
        data=describe_data(index, index_sha256),
        weights=describe_weights(config.network.weights, config.network.entry),
        metrics=metrics,
        int8=exported.int8,
        assessment=record,
        software={"osteo-tiles": __version__, "python": platform.python_version()}
        | {name: version(name) for name in _SOFTWARE},
        files={},
    )
    n_mixed = sum(tile.raw_label == MIXED_RAW_LABEL for tile in index.tiles)
    leaks = [leak for run in runs if run.kind == "random" for leak in leaks_of(index, run)]
    write_card(bundle_dir / MODEL_CARD_NAME, manifest, report, n_mixed, leaks)
    manifest = manifest.model_copy(update={"files": file_entries(bundle_dir)})
    write_manifest(bundle_dir / MANIFEST_NAME, manifest)
    check_bundle(bundle_dir)
    return manifest


def check_bundle(bundle_dir: Path) -> float:
    """Open a bundle as the service does and run its golden tiles on every runtime.

    Returns:
        The largest difference of any output between the runtimes.

    Raises:
        BundleError: a file, the manifest or a golden tile is not as released.
        RunError: the runtimes differ by more than `PARITY`.
    """
    bundle = open_bundle(bundle_dir)
    saved_model = SavedModelRuntime(bundle.saved_model_dir)
    litert = LiteRtRuntime(bundle.litert_file, n_workers=1)
    largest = 0.0
    for golden in read_golden_tiles(bundle):
        one, other = saved_model.infer(golden.tile[None]), litert.infer(golden.tile[None])
        for name in ("logits", "embedding", "cam"):
            gap = np.abs(getattr(one, name) - getattr(other, name)).max()
            largest = max(largest, float(gap))
    runtimes: list[Runtime] = [saved_model, litert]
    if bundle.manifest.int8 is not None:
        runtimes.append(LiteRtRuntime(bundle.int8_file, n_workers=1, precision="int8"))
    for runtime in runtimes:
        check_golden_tiles(bundle, _logits_of(runtime), runtime.precision)
        runtime.close()
    if not largest <= PARITY:  # NaN compares false, and must fail
        raise RunError(f"The two runtimes differ by {largest:.2g}, more than {PARITY:.2g}.")
    return largest


def _logits_of(runtime: Runtime) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    return lambda tiles: runtime.infer(tiles).logits


def _require_matching(
    bundle_dir: Path, index_sha256: str, runs: Sequence[CrossValidation], config: TrainingConfig
) -> None:
    require_no_bundle(bundle_dir)
    if not any(run.kind == "slide" for run in runs):
        raise RunError("A bundle needs a cross-validation by slide, which sets its temperature.")
    for run in runs:
        if run.index_sha256 != index_sha256 or run.config != config:
            raise RunError(
                f"The cross-validation by {run.kind} was made with another index or configuration "
                "than the fit on all tiles, so its numbers say nothing about it."
            )


def _write_plots(
    plots_dir: Path,
    runs: Sequence[CrossValidation],
    metrics: Sequence[SplitMetrics],
    temperature: float,
) -> None:
    plots_dir.mkdir()
    for run, measured in zip(runs, metrics, strict=True):
        plot_confusion(plots_dir / f"confusion-{run.kind}.png", measured)
        if run.kind == "slide":
            plot_epochs(plots_dir / "epochs-slide.png", run)
            plot_reliability(plots_dir / "reliability-slide.png", run, temperature)


def _without_paths(config: TrainingConfig) -> dict[str, Any]:
    document = config.model_dump(mode="json")
    document["network"]["weights"] = Path(config.network.weights).name
    return document


def file_entries(bundle_dir: Path) -> dict[str, FileEntry]:
    """Size and SHA-256 of every file of a bundle that has no manifest yet."""
    return {
        path.relative_to(bundle_dir).as_posix(): FileEntry(
            sha256=sha256_of_file(path), n_bytes=path.stat().st_size
        )
        for path in sorted(bundle_dir.rglob("*"))
        if path.is_file()
    }


def require_no_bundle(bundle_dir: Path) -> None:
    """Refuse to write over a bundle; what a release left that was killed while it wrote goes.

    Raises:
        RunError: there is one.
    """
    remove_incomplete(bundle_dir)
    if bundle_dir.exists():
        raise RunError(
            f"{bundle_dir} exists, and a released bundle never changes. Raise model_version, give "
            "another --models-dir, or remove the folder first."
        )


def remove_incomplete(bundle_dir: Path) -> None:
    """Remove what a failed release left, so that the next one can start."""
    if bundle_dir.is_dir() and not (bundle_dir / MANIFEST_NAME).exists():
        shutil.rmtree(bundle_dir)
