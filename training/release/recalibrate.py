"""Recalibrate a bundle on a site's own labelled tiles: a new version with the same graphs."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle, list_versions
from app.core.assessment_record import InputGate
from app.core.manifest import MODEL_CARD_NAME, Manifest
from app.core.provenance import Recalibration
from app.core.reference_tiles import REFERENCE_NAME, read_reference
from training.console.plural import plural
from training.data.labelled_tiles import LabelledTiles
from training.errors import RunError
from training.evaluation.calibration import (
    TEMPERATURE_RANGE,
    fit_temperature,
    measure_calibration,
)
from training.evaluation.metrics import confusion_matrix
from training.release.bundle import complete_bundle, file_entry
from training.release.golden_tiles import renew_golden_record
from training.release.model_card_reliability import recalibration_section
from training.release.staging import staging
from training.reliability.assessment_record import build_record
from training.reliability.held_out import HeldOutPredictions
from training.reliability.input_gate import fit_gate, flag_tiles, measure_appearances
from training.reliability.predictor import Predictor
from training.runs.records import class_indices_of

MIN_TILES: Final = 20
"""With fewer tiles, the temperature would be fitted to chance."""
_HOTTEST: Final = 0.99 * TEMPERATURE_RANGE[1]
"""A temperature above this stopped at the end of its range: uniform probabilities fit best."""
_FLOORS: Final = ("min_tissue_share", "min_contrast", "min_sharpness", "min_stain_share")


def recalibrate(bundle: Bundle, labelled: LabelledTiles, widen_gate: bool) -> Path:
    """Write the next version of a bundle, calibrated on a site's tiles.

    Temperature, prediction sets and drift reference are fitted to these tiles; weights, graphs,
    golden tiles and their logits stay those of the bundle.

    Args:
        bundle: the bundle to recalibrate.
        labelled: tiles that the model was not trained on.
        widen_gate: widen the limits of the input gate so that they admit these tiles.

    Returns:
        The folder of the new version.

    Raises:
        RunError: these are training tiles, they are too few, they have only one label, no
            temperature fits them, or the version cannot be written.
    """
    _require_usable(bundle, labelled)
    before = bundle.manifest
    with Predictor(bundle.litert_file, before.temperature) as predictor:
        logits, embeddings = predictor.logits_and_embeddings(labelled.tiles)
    truth = class_indices_of(labelled.index)
    temperature = _fit(logits, truth)
    held_out = HeldOutPredictions(
        logits=logits,
        temperature=temperature,
        truth=truth,
        folds=np.full(len(truth), "site"),
        distances=_distances(bundle, embeddings),
        appearances=tuple(measure_appearances(labelled.tiles)),
    )
    gate, origin = _gate(bundle, held_out, widen_gate)
    version = str(max(map(int, list_versions(bundle.path.parents[1], before.model_name))) + 1)
    recalibration = Recalibration(
        parent_version=before.model_version,
        parent_sha256=bundle.sha256,
        index_sha256=labelled.index_sha256,
        n_tiles=len(truth),
        gate_widened=widen_gate,
        confusion=_confusion(truth, held_out.predicted, len(before.labels)),
    )
    manifest = before.model_copy(
        update={
            "model_version": version,
            "created": datetime.now(UTC).replace(microsecond=0),
            "temperature": temperature,
            "assessment": build_record(held_out, before.label_ids, "site", gate),
            "recalibration": recalibration,
        }
    )
    n_flagged = sum(map(bool, flag_tiles(gate, held_out.appearances, held_out.distances)))
    section = recalibration_section(
        version,
        recalibration,
        [measure_calibration(logits, truth, t) for t in (before.temperature, temperature)],
        f"{origin} and flags {n_flagged} of them",
    )
    return _write(bundle, manifest, section)


def _require_usable(bundle: Bundle, labelled: LabelledTiles) -> None:
    index = labelled.index
    expected, found = bundle.manifest.label_ids, index.label_set.ids
    if expected != found:
        raise RunError(
            f"The bundle has the labels {', '.join(expected)}, but the index has "
            f"{', '.join(found)}. Make the index with a --config whose [labels] are the bundle's."
        )
    data = bundle.manifest.data
    # The same table with another choice of rows has another index, but the same training tiles.
    if data.index_sha256 == labelled.index_sha256 or data.table_sha256 == index.table_sha256:
        raise RunError(
            "The index lists the tiles that the model was trained on, whose predictions are "
            "overconfident. Use labelled tiles that it was not trained on."
        )
    n_tiles, n_labels = len(index.tiles), len(set(index.labels))
    if n_tiles < MIN_TILES or n_labels < 2:
        raise RunError(
            f"The index has {plural(n_tiles, 'tile')} of {plural(n_labels, 'label')}; "
            f"recalibration needs at least {MIN_TILES} tiles of at least 2 labels."
        )


def _fit(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    if (logits.argmax(axis=1) == truth).all():
        raise RunError(
            "Every prediction is correct, so the optimal temperature is unbounded. Keep the "
            "current version, or add more labelled tiles."
        )
    temperature = fit_temperature(logits, truth)
    if temperature > _HOTTEST:
        raise RunError(
            "The predictions on these tiles are no better than chance (temperature "
            f"{temperature:g}), which recalibration cannot repair. Check labels and stain."
        )
    return temperature


def _confusion(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], n_labels: int
) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, confusion_matrix(truth, predicted, n_labels).tolist()))


def _distances(bundle: Bundle, embeddings: NDArray[np.float32]) -> NDArray[np.float32] | None:
    record = bundle.manifest.assessment
    if record is None or record.gate.max_distance is None:
        return None
    return read_reference(bundle.path / REFERENCE_NAME).distances(embeddings)


def _gate(bundle: Bundle, held_out: HeldOutPredictions, widen: bool) -> tuple[InputGate, str]:
    """The new version's input gate, and where it comes from, for the model card."""
    record = bundle.manifest.assessment
    fitted = fit_gate(held_out.appearances, held_out.distances)
    if record is None:
        return fitted, "was fitted on these tiles (the parent version has none)"
    if not widen:
        return record.gate, "was kept unchanged"
    return _widened(record.gate, fitted), "was widened to admit these tiles"


def _widened(gate: InputGate, fitted: InputGate) -> InputGate:
    """The narrowest gate that admits everything that either gate admits."""
    ranges = zip(gate.absorption, fitted.absorption, strict=True)
    distances = [d for d in (gate.max_distance, fitted.max_distance) if d is not None]
    return gate.model_copy(
        update={
            **{name: min(getattr(gate, name), getattr(fitted, name)) for name in _FLOORS},
            "absorption": tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in ranges),
            "max_distance": max(distances, default=None),
        }
    )


def _write(bundle: Bundle, manifest: Manifest, section: str) -> Path:
    """Write and check the version in a staging folder, then move it next to the others."""
    bundle_dir = bundle.path.with_name(manifest.model_version)
    try:
        with staging(bundle.path.parent) as folder:
            draft = folder / manifest.model_name / manifest.model_version
            for name in manifest.files:
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.path / name, draft / name)
            card_file = draft / MODEL_CARD_NAME
            with card_file.open("a", encoding="utf-8") as card:
                card.write(section)
            # The parent's checksums of the other files verify the copies.
            record_file = renew_golden_record(bundle, draft, manifest.temperature)
            renewed = {
                file.relative_to(draft).as_posix(): file_entry(file)
                for file in (card_file, record_file)
            }
            complete_bundle(draft, manifest, manifest.files | renewed)
            draft.rename(bundle_dir)
    except OSError as error:
        raise RunError(
            f"{bundle_dir} could not be written ({error.strerror or error}); nothing was changed."
        ) from error
    return bundle_dir
