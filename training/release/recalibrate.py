"""Recalibrate a bundle on a site's own labelled tiles: a new version, no graph touched."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle, list_versions
from app.core.assessment_record import AssessmentRecord, InputGate
from app.core.manifest import (
    MANIFEST_NAME,
    MODEL_CARD_NAME,
    FileEntry,
    Manifest,
    Recalibration,
    sha256_of_file,
    write_manifest,
)
from app.core.reference_tiles import REFERENCE_NAME, read_reference
from training.data.labelled_tiles import LabelledTiles
from training.data.labels import LABEL_IDS
from training.errors import RunError
from training.evaluation.temperature import TEMPERATURE_RANGE, fit_temperature
from training.release.bundle import check_bundle
from training.release.staging import staging
from training.reliability.assessment_record import build_record
from training.reliability.calibration_metrics import measure_quality
from training.reliability.input_gate import fit_gate, judge, measure_all
from training.reliability.out_of_fold import Evidence
from training.reliability.predictor import Predictor
from training.reliability.report import CalibrationQuality
from training.runs.records import class_indices_of

MIN_TILES: Final = 20
"""Fewer tiles fit a temperature to chance."""
_HOTTEST: Final = 0.99 * TEMPERATURE_RANGE[1]
"""A fit beyond was stopped by the end of its range: the best answer is that all are as likely."""
_SITE: Final = "site"


def recalibrate(bundle: Bundle, labelled: LabelledTiles, widen_gate: bool) -> Path:
    """Write the next version of a bundle, calibrated on other tiles.

    Temperature, prediction sets and drift reference come from these tiles; weights, graphs and
    golden tiles are those of the bundle.

    Args:
        bundle: what to recalibrate.
        labelled: tiles that the model was not trained on.
        widen_gate: let the input gate's limits grow to admit these tiles, whose stain may differ.

    Returns:
        The folder of the new version.

    Raises:
        RunError: these are the training tiles, they are too few, all of one label, or fit no
            temperature; or the version cannot be written.
    """
    _require_usable(bundle, labelled)
    before = bundle.manifest
    with Predictor(bundle.litert_file, before.temperature) as predictor:
        logits, embeddings = predictor.answers(labelled.tiles)
    truth = class_indices_of(labelled.index)
    temperature = _fit(logits, truth)
    qualities = [measure_quality(logits, truth, t) for t in (before.temperature, temperature)]
    evidence = Evidence.of_answers(
        logits,
        temperature,
        truth,
        np.full(len(truth), _SITE),
        _distances(bundle, embeddings),
        tuple(measure_all(labelled.tiles)),
    )
    gate = _gate(before.assessment, evidence, widen_gate)
    version = str(max(map(int, list_versions(bundle.path.parents[1], before.model_name))) + 1)
    manifest = before.model_copy(
        update={
            "model_version": version,
            "created": datetime.now(UTC).replace(microsecond=0),
            "temperature": temperature,
            "assessment": build_record(evidence, LABEL_IDS, "site", gate),
            "recalibration": Recalibration(
                parent_version=before.model_version,
                parent_sha256=bundle.sha256,
                index_sha256=labelled.index_sha256,
                n_tiles=len(truth),
                gate_widened=widen_gate,
            ),
        }
    )
    n_flagged = sum(map(bool, judge(gate, evidence.appearances, evidence.distances)))
    fate = "kept as it was"
    if before.assessment is None:
        fate = "fitted on these tiles, since there was none,"
    elif widen_gate:
        fate = "widened to admit these tiles"
    section = _card_section(manifest, qualities, f"{fate} and flags {n_flagged} of them")
    return _write(bundle, manifest, section)


def _require_usable(bundle: Bundle, labelled: LabelledTiles) -> None:
    index = labelled.index
    if bundle.manifest.label_ids != LABEL_IDS:
        raise RunError(f"{bundle.path} has other labels than this package trains.")
    data = bundle.manifest.data
    # Another choice of the same table's rows makes another index, of tiles that were trained on.
    if data.index_sha256 == labelled.index_sha256 or data.table_sha256 == index.table_sha256:
        raise RunError(
            "The index lists the tiles that the model was trained on, where it is always right. "
            "Give labelled tiles it has not seen."
        )
    n_tiles, n_labels = len(index.tiles), len(set(index.labels))
    if n_tiles < MIN_TILES or n_labels < 2:
        raise RunError(
            f"The index holds {n_tiles} tile(s) of {n_labels} label(s); recalibration needs "
            f"{MIN_TILES} tiles of at least two."
        )


def _fit(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    if (logits.argmax(axis=1) == truth).all():
        raise RunError(
            "Every answer to these tiles is right, so the surer the better, without end: no "
            "temperature can be fitted. Keep the version as it is, or give more labelled tiles."
        )
    temperature = fit_temperature(logits, truth)
    if temperature > _HOTTEST:
        raise RunError(
            f"The answers to these tiles are no better than chance (temperature {temperature:g}), "
            "which no recalibration repairs. Check labels and stain."
        )
    return temperature


def _distances(bundle: Bundle, embeddings: NDArray[np.float32]) -> NDArray[np.float32] | None:
    record = bundle.manifest.assessment
    if record is None or record.gate.max_distance is None:
        return None
    return read_reference(bundle.path / REFERENCE_NAME).distances(embeddings)


def _gate(record: AssessmentRecord | None, evidence: Evidence, widen: bool) -> InputGate:
    fitted = fit_gate(evidence.appearances, evidence.distances)
    if record is None:
        return fitted
    kept = record.gate
    if not widen:
        return kept
    farthest = [d for d in (kept.max_distance, fitted.max_distance) if d is not None]
    pairs = zip(kept.absorption, fitted.absorption, strict=True)
    red, green, blue = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs)
    return InputGate(
        min_tissue_share=min(kept.min_tissue_share, fitted.min_tissue_share),
        min_contrast=min(kept.min_contrast, fitted.min_contrast),
        min_sharpness=min(kept.min_sharpness, fitted.min_sharpness),
        min_stain_share=min(kept.min_stain_share, fitted.min_stain_share),
        absorption=(red, green, blue),
        max_distance=max(farthest, default=None),
    )


def _write(bundle: Bundle, manifest: Manifest, section: str) -> Path:
    """Written where no service looks, and moved beside the other versions whole and checked."""
    bundle_dir = bundle.path.with_name(manifest.model_version)
    try:
        with staging(bundle.path.parent) as folder:
            draft = folder / manifest.model_name / manifest.model_version
            for name in manifest.files:
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.path / name, draft / name)
            with (draft / MODEL_CARD_NAME).open("a", encoding="utf-8") as card:
                card.write(section)
            # Of what was copied the parent's sums are kept, so that the check is of the copies.
            entries = manifest.files | {
                MODEL_CARD_NAME: FileEntry(
                    sha256=sha256_of_file(draft / MODEL_CARD_NAME),
                    n_bytes=(draft / MODEL_CARD_NAME).stat().st_size,
                )
            }
            write_manifest(draft / MANIFEST_NAME, manifest.model_copy(update={"files": entries}))
            check_bundle(draft)
            draft.rename(bundle_dir)
    except OSError as error:
        raise RunError(
            f"{bundle_dir} could not be written ({error.strerror or error}); nothing was changed."
        ) from error
    return bundle_dir


def _card_section(manifest: Manifest, qualities: list[CalibrationQuality], gate: str) -> str:
    site = manifest.recalibration
    if site is None:
        raise RunError("The manifest names no recalibration.")
    rows = "\n".join(
        f"| {name} | {q.temperature:g} | {q.ece:.3f} | {q.brier:.3f} | {q.log_loss:.3f} |"
        for name, q in zip(("before", "after"), qualities, strict=True)
    )
    return (
        f"\n## Recalibrated as version {manifest.model_version}\n\n"
        f"On {site.n_tiles} labelled tiles of a site (index {site.index_sha256[:12]}); the graphs "
        f"are those of version {site.parent_version}. Nothing above was measured anew: its numbers "
        "belong to the temperature they were measured with. Prediction sets and drift reference "
        f"are the site's; the input gate was {gate}. 'After' is measured on the answers it was "
        "fitted on.\n\n"
        "|  | temperature | ECE (10 bins) | Brier score | log loss |\n"
        "| --- | --- | --- | --- | --- |\n"
        f"{rows}\n"
    )
