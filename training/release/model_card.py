"""The model card, written from what was measured; no number in it is typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from app.core.manifest import Manifest
from training.console.markdown import markdown_table
from training.evaluation.leakage import Leaks
from training.evaluation.split_tables import (
    MIXED_POLICY,
    PUBLISHED,
    SPLIT_HEADER,
    case_header,
    case_rows,
    number,
    percent,
    split_rows,
)
from training.networks.registry import find_system
from training.release.model_card_reliability import assessment_sections
from training.reliability.report import AssessmentReport


def write_card(
    path: Path,
    manifest: Manifest,
    report: AssessmentReport,
    n_mixed: int,
    leaks: Sequence[Leaks] = (),
) -> None:
    """Write `model-card.md`.

    Args:
        path: the file.
        manifest: everything but `files`, which the card does not use.
        report: what was measured of the model's own doubts.
        n_mixed: mixed tiles among those trained on.
        leaks: what the random split leaks, at each footprint.
    """
    sections = [
        _head(manifest),
        _use(manifest),
        _data(manifest, n_mixed),
        _results(manifest, leaks),
        _by_label(manifest),
        _by_case(manifest),
        *assessment_sections(report),
        _network(manifest),
        _terms(manifest),
    ]
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _head(manifest: Manifest) -> str:
    return (
        f"# {manifest.model_name}, version {manifest.model_version}\n\n"
        f"> **{manifest.intended_use}**\n\n"
        f"A tile of an H&E-stained osteosarcoma slide in, the probabilities of "
        f"{_join(label.name for label in manifest.labels)} out. "
        f"Made {manifest.created:%Y-%m-%d}; this page is generated with the model."
    )


def _use(manifest: Manifest) -> str:
    return (
        "## What it is for\n\n"
        "Research on tile classification, teaching, and testing the software around a classifier: "
        f"H&E tiles of about {manifest.input.tile_side_px} x {manifest.input.tile_side_px} px at "
        f"nominally {manifest.input.objective_power:g}x, like those of the collection below.\n\n"
        "## What it is not for\n\n"
        "- Diagnosis, treatment, grading, or a percentage of necrosis that anybody acts on.\n"
        "- Other stains, organs, magnifications or scanners: nothing was measured there.\n"
        "- Tiles without tissue, or anything else than the three labels: it always answers one of "
        "them. The input gate below sends most of these to review."
    )


def _data(manifest: Manifest, n_mixed: int) -> str:
    data = manifest.data
    names = {label.id: label.name for label in manifest.labels}
    counts = _join(f"{count} {names[label]}" for label, count in data.tiles_by_label.items())
    return (
        "## Trained on\n\n"
        f"**{data.n_tiles} tiles** ({counts}) from {data.n_slides} slides of {data.n_cases} cases. "
        f"That is few: every number below has a wide interval.\n\n"
        f"- Mixed tiles (viable: non-viable) are {MIXED_POLICY[data.mixed_tiles]}; "
        f"mixed tiles among these: {n_mixed}.\n"
        "- Case and label are confounded: see the table by case. A model can gain by telling "
        "cases apart, and the patient split shows what is left without that.\n"
        "- The released weights are a fit on all tiles with the same settings; the numbers are of "
        "the cross-validated models, which saw fewer."
    )


def _results(manifest: Manifest, leaks: Sequence[Leaks]) -> str:
    leaking = "".join(f"- random: {leak}.\n" for leak in leaks)
    return (
        "## Results\n\nSide by side, because how tiles are kept apart decides the number. "
        "Intervals resample slides.\n\n"
        + markdown_table(SPLIT_HEADER, split_rows(manifest.metrics))
        + "\n\nTake the slide split for new slides of known cases, the patient split for new "
        "patients. Nobody should quote the random split as what to expect.\n\n"
        f"{leaking}- Mixed tiles: {MIXED_POLICY[manifest.data.mixed_tiles]}.\n"
        f"- {PUBLISHED}"
    )


def _by_label(manifest: Manifest) -> str:
    names = {label.id: label.name for label in manifest.labels}
    rows = [
        [
            entry.split,
            names[measured.label],
            str(measured.support),
            percent(measured.precision),
            percent(measured.recall),
            number(measured.f1),
        ]
        for entry in manifest.metrics
        for measured in entry.classes
    ]
    header = ["split", "label", "tiles", "precision", "recall", "F1"]
    return "## By label\n\n" + markdown_table(header, rows)


def _by_case(manifest: Manifest) -> str:
    rows = case_rows(manifest.metrics)
    if not rows:
        return "## By case\n\nNot measured: no patient split was run."
    return (
        "## By case\n\nEach case answered by a model that never saw it: the share of each label's "
        "tiles that was known. A label that the case does not hold is unavailable, never 0 or 1."
        "\n\n" + markdown_table(case_header(), rows)
    )


def _network(manifest: Manifest) -> str:
    height, width = manifest.cam_shape
    side_px = manifest.input.side_px
    system = find_system(manifest.training["network"]["system"])
    head = (
        "a linear support vector machine"
        if system.head == "svm"
        else "a hidden layer of relu units"
    )
    return (
        "## Network\n\n"
        f"{system.title} ({system.reference}), global average pooling, {head}, softmax. "
        f"Input: uint8 RGB, {side_px} x {side_px} px, scaled inside. Outputs: logits, a "
        f"{manifest.embedding_size}-number embedding and Grad-CAM maps of {height} x {width}. "
        "The full configuration, versions and SHA-256 of every file stand in `manifest.json`; "
        "confusion matrices, epochs and reliability in `plots/`. The tiles in `golden/` are drawn "
        "by a program, not clinical."
    )


def _terms(manifest: Manifest) -> str:
    return (
        "## Sources and licences\n\n"
        f"- Tiles: {manifest.data.citation} Licence {manifest.data.licence}; attribution is "
        "required wherever a tile, or a model trained on them, is published.\n"
        f"- Initial weights: {manifest.weights.name}. Licence {manifest.weights.licence}."
    )


def _join(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
