"""The model card: every measured number in it comes from the manifest or the assessment report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from app.core.manifest import Manifest
from training.console.markdown import markdown_table
from training.evaluation.leakage import Leaks
from training.evaluation.published import PUBLISHED
from training.evaluation.split_tables import (
    MIXED_POLICY,
    SPLIT_HEADER,
    case_header,
    case_rows,
    number,
    percent,
    split_rows,
)
from training.networks.registry import find_system
from training.release.card_header import card_header
from training.release.model_card_reliability import (
    assessment_sections,
    own_tiles_paragraphs,
    section,
)
from training.reliability.assessment_report import AssessmentReport
from training.reliability.own_tiles import OwnTiles


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
        manifest: complete but for `files`, which the card does not use.
        report: the assessment of the bundle.
        n_mixed: number of mixed training tiles.
        leaks: leaks of the random split, at each footprint.
    """
    sections = [
        _head(manifest),
        *_use(manifest),
        _data(manifest, n_mixed),
        _results(manifest, leaks, report.own),
        _by_label(manifest),
        _by_case(manifest),
        *assessment_sections(report),
        _network(manifest),
        _terms(manifest),
    ]
    text = card_header(manifest) + "\n\n".join(sections) + "\n"
    path.write_text(text, encoding="utf-8")


def _head(manifest: Manifest) -> str:
    return (
        f"# {manifest.model_name}, version {manifest.model_version}\n\n"
        f"> **{manifest.intended_use}**\n\n"
        f"Classifies a tile of an H&E-stained osteosarcoma slide: it returns the probabilities of "
        f"{_join(label.name for label in manifest.labels)}. "
        f"Released {manifest.created:%Y-%m-%d}; this card was generated with the model."
    )


def _use(manifest: Manifest) -> list[str]:
    side_px = manifest.input.tile_side_px
    return [
        section(
            "What it is for",
            "Research on tile classification, teaching, and testing software that uses a "
            f"classifier. Input: H&E tiles of about {side_px} x {side_px} px at nominally "
            f"{manifest.input.objective_power:g}x, like those of the collection below.",
        ),
        section(
            "What it is not for",
            "- Diagnosis, treatment, grading, or a percentage of necrosis that anybody acts on.\n"
            "- Other stains, organs, magnifications or scanners: it was not evaluated on them.\n"
            "- Tiles without tissue, or with anything but the three labels: the model always "
            "predicts one of them. The input gate below flags most such tiles for review.",
        ),
    ]


def _data(manifest: Manifest, n_mixed: int) -> str:
    data = manifest.data
    names = {label.id: label.name for label in manifest.labels}
    counts = _join(f"{count} {names[label]}" for label, count in data.tiles_by_label.items())
    return section(
        "Trained on",
        f"**{data.n_tiles} tiles** ({counts}) from {data.n_slides} slides of {data.n_cases} cases. "
        "That is few, so every metric below has a wide interval.",
        f"- Mixed tiles (viable: non-viable) are {MIXED_POLICY[data.mixed_tiles]}; this data set "
        f"has {n_mixed}.\n"
        "- Case and label are confounded, as the table by case shows. A model can score well by "
        "recognising cases; the patient split rules that out.\n"
        "- The released weights were fitted on all tiles with the same settings. The metrics are "
        "those of the cross-validated models, which were fitted on fewer tiles.",
    )


def _results(manifest: Manifest, leaks: Sequence[Leaks], own: OwnTiles | None) -> str:
    notes = [f"random: {leak}." for leak in leaks]
    notes += [f"Mixed tiles: {MIXED_POLICY[manifest.data.mixed_tiles]}.", PUBLISHED]
    return section(
        "Results",
        "The kind of split decides the result, so all kinds are shown. The intervals come from "
        "resampling slides.",
        markdown_table(SPLIT_HEADER, split_rows(manifest.metrics)),
        "For new slides of known cases, expect the result of the slide split; for new patients, "
        "that of the patient split. Do not quote the random split as expected performance.",
        *own_tiles_paragraphs(own),
        "\n".join(f"- {note}" for note in notes),
    )


def _by_label(manifest: Manifest) -> str:
    names = {label.id: label.name for label in manifest.labels}
    rows = [
        [
            *(entry.split, names[m.label], str(m.support)),
            *(percent(m.precision), percent(m.recall), number(m.f1)),
        ]
        for entry in manifest.metrics
        for m in entry.classes
    ]
    header = ["split", "label", "tiles", "precision", "recall", "F1"]
    return section("By label", markdown_table(header, rows))


def _by_case(manifest: Manifest) -> str:
    rows = case_rows(manifest.metrics)
    if not rows:
        return section("By case", "Not measured: no patient split was run.")
    return section(
        "By case",
        "Each case is predicted by a model that was not trained on it. The recall of a label that "
        "a case does not contain is unavailable, never 0 or 1.",
        markdown_table(case_header(), rows),
    )


def _network(manifest: Manifest) -> str:
    height, width = manifest.cam_shape
    side_px = manifest.input.side_px
    system = find_system(manifest.training["network"]["system"])
    is_svm = system.head == "svm"
    head = "a linear support vector machine" if is_svm else "a hidden layer with ReLU"
    return section(
        "Network",
        f"{system.title} ({system.reference}), global average pooling, {head}, softmax. "
        f"Input: uint8 RGB, {side_px} x {side_px} px, scaled inside the graph. Outputs: logits, an "
        f"embedding of length {manifest.embedding_size} and Grad-CAM maps of {height} x {width}. "
        "`manifest.json` has the full configuration, the software versions and the SHA-256 of "
        "every file; `plots/` has confusion matrices, learning curves and reliability diagram. "
        "The tiles in `golden/` were drawn by a program; they are not clinical.",
    )


def _terms(manifest: Manifest) -> str:
    return section(
        "Sources and licences",
        f"- Tiles: {manifest.data.citation} Licence {manifest.data.licence}; attribution is "
        "required wherever a tile, or a model trained on them, is published.\n"
        f"- Initial weights: {manifest.weights.name}. Licence {manifest.weights.licence}.",
    )


def _join(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
