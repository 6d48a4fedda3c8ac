"""The model card: every measured number in it comes from the manifest or the assessment report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

from app.core.manifest import Manifest, SplitKind
from training.config import SourceConfig
from training.console.markdown import markdown_table
from training.console.plural import plural
from training.evaluation.leakage import Leaks
from training.evaluation.nested_answers import NestedResult, NestedSplit
from training.evaluation.published import PUBLISHED
from training.evaluation.split_tables import (
    MIXED_POLICY,
    SPLIT_HEADER,
    case_header,
    case_rows,
    number,
    percent,
    split_rows,
    unknown_places,
)
from training.networks.registry import find_system
from training.release.card_header import card_header
from training.release.model_card_reliability import (
    assessment_sections,
    own_tiles_paragraphs,
    section,
)
from training.release.provenance import has_licence
from training.reliability.assessment_report import AssessmentReport

_NUMBERS: Final = {2: "two", 3: "three", 4: "four", 5: "five"}
_FEW_TILES: Final = 1000
_SUPPLEMENTS: Final = {
    "thumbnails": "{n} tiles at a low resolution",
    "feature_table": "{n} rows of the collection's feature table (texture measures)",
}
_NO_TUMOR: Final = " No label is tumour, so there is no tumour probability."


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the card says beyond the manifest.

    Attributes:
        report: the assessment of the bundle.
        calibrated_by: the kind of split whose predictions the temperature was fitted on.
        n_mixed: number of the collection's mixed tiles.
        leaks: leaks of the random split, at each footprint.
        source: where one's own tiles come from; None for the collection.
        nested: the recipe's choice, tested on cases that it did not see; None if not measured.
    """

    report: AssessmentReport
    calibrated_by: SplitKind
    n_mixed: int = 0
    leaks: Sequence[Leaks] = ()
    source: SourceConfig | None = None
    nested: NestedResult | None = None


def write_card(path: Path, manifest: Manifest, facts: CardFacts) -> None:
    """Write `model-card.md`.

    Args:
        path: the file.
        manifest: complete but for `files`, which the card does not use.
        facts: what the manifest does not say.
    """
    sections = [
        _head(manifest, facts.source),
        *_use(manifest, facts.source),
        _data(manifest, facts.n_mixed),
        _results(manifest, facts),
        _by_label(manifest),
        _by_case(manifest),
        *assessment_sections(facts.report, facts.calibrated_by),
        _network(manifest),
        _terms(manifest),
    ]
    text = card_header(manifest) + "\n\n".join(sections) + "\n"
    path.write_text(text, encoding="utf-8")


def _head(manifest: Manifest, source: SourceConfig | None) -> str:
    slide = "an H&E-stained osteosarcoma slide"
    if source is not None:
        slide = f"a slide of {source.tissue} (stain: {source.stain})"
    return (
        f"# {manifest.model_name}, version {manifest.model_version}\n\n"
        f"> **{manifest.intended_use}**\n\n"
        f"Classifies a tile of {slide}: it returns the probabilities of "
        f"{_join(label.name for label in manifest.labels)}. "
        f"Released {manifest.created:%Y-%m-%d}; this card was generated with the model."
    )


def _use(manifest: Manifest, source: SourceConfig | None) -> list[str]:
    side_px, power = manifest.input.tile_side_px, manifest.input.objective_power
    sides = f"about {side_px} x {side_px} px" if side_px else "various sides"
    magnification = f"at nominally {power:g}x" if power else "at an unstated magnification"
    n_labels = _NUMBERS.get(len(manifest.labels), str(len(manifest.labels)))
    stain = "H&E" if source is None else source.stain
    no_tumor = "" if any(label.is_tumor for label in manifest.labels) else _NO_TUMOR
    return [
        section(
            "What it is for",
            "Research on tile classification, teaching, and testing software that uses a "
            f"classifier. Input: {stain} tiles of {sides} {magnification}, like those of the "
            f"collection below.{no_tumor}",
        ),
        section(
            "What it is not for",
            "- Diagnosis, treatment, grading, or a percentage of necrosis that anybody acts on.\n"
            "- Other stains, organs, magnifications or scanners: it was not evaluated on them.\n"
            f"- Tiles without tissue, or with anything but the {n_labels} labels: the model always "
            "predicts one of them. The input gate below flags most such tiles for review.",
        ),
    ]


def _data(manifest: Manifest, n_mixed: int) -> str:
    data = manifest.data
    names = {label.id: label.name for label in manifest.labels}
    counts = _join(f"{count} {names[label]}" for label, count in data.tiles_by_label.items())
    slides = "unknown slides" if data.n_slides is None else f"{data.n_slides} slides"
    cases = "unknown cases" if data.n_cases is None else f"{data.n_cases} cases"
    notes = [
        "The released weights were fitted on all tiles with the same settings. The metrics are "
        "those of the cross-validated models, which were fitted on fewer tiles."
    ]
    if data.n_cases is not None:
        notes.insert(
            0,
            "Case and label are confounded, as the table by case shows. A model can score well by "
            "recognising cases; the patient split rules that out.",
        )
    if data.mixed_tiles is not None:
        mixed = MIXED_POLICY[data.mixed_tiles]
        notes.insert(
            0, f"Mixed tiles (viable: non-viable) are {mixed}; this data set has {n_mixed}."
        )
    few = " That is few, so every metric below has a wide interval."
    is_few = data.mixed_tiles is not None or data.n_tiles < _FEW_TILES
    more = [_SUPPLEMENTS[one.kind].format(n=one.n_items) for one in manifest.supplements]
    return section(
        "Trained on",
        f"**{data.n_tiles} tiles** ({counts}) from {slides} of {cases}.{few if is_few else ''}",
        *(
            [
                f"Also learnt from {_join(more)}. No split tests them, and what comes from a "
                "tested slide or case is left out."
            ]
            if more
            else []
        ),
        "\n".join(f"- {note}" for note in notes),
    )


def _results(manifest: Manifest, facts: CardFacts) -> str:
    data, nested = manifest.data, facts.nested
    notes = [f"random: {leak}." for leak in facts.leaks]
    if data.mixed_tiles is not None:
        notes += [f"Mixed tiles: {MIXED_POLICY[data.mixed_tiles]}.", PUBLISHED]
    notes += unknown_places(data)
    return section(
        "Results",
        "The kind of split decides the result, so all kinds are shown. The intervals come from "
        f"resampling {'tiles' if data.n_slides is None else 'slides'}.",
        markdown_table(SPLIT_HEADER, split_rows(manifest.metrics)),
        "For new slides of known cases, expect the result of the slide split; for new patients, "
        f"that of {'the patient split' if nested is None else 'the nested choice below'}. Do not "
        "quote the random split as expected performance.",
        *([] if nested is None else _nested_paragraphs(nested)),
        *own_tiles_paragraphs(facts.report.own),
        *(["\n".join(f"- {note}" for note in notes)] if notes else []),
    )


def _nested_paragraphs(nested: NestedResult) -> list[str]:
    by = [f"**{_nested_counts(nested.patient)} by patient**"]
    by += [f"{_nested_counts(nested.slide)} by slide"] if nested.slide else []
    return [
        f"The nested choice: correct answers about {'; '.join(by)}. These are means of "
        f"{plural(nested.seeds, 'training seed')}.",
        "Its rule: a case is left out, with everything else that comes from it. On the other cases "
        "alone, each is left out in turn, every candidate recipe is fitted on the rest, and the "
        "one with the most correct answers is chosen among those that are accurate enough by "
        "slide. It is fitted on the other cases and answers the left-out case once. By slide, "
        "slides are left out instead. The patient row of the table is the recipe that was chosen "
        "on all cases, so part of it is luck.",
    ]


def _nested_counts(split: NestedSplit) -> str:
    counts, n_tiles = split.n_correct, split.n_tiles
    average = mean(counts)
    span = "" if counts[0] == counts[-1] else f"; {counts[0]} to {counts[-1]}"
    return (
        f"{average:g} of {n_tiles} tiles ({percent(average / n_tiles)}{span}; "
        f"macro F1 {number(split.macro_f1)})"
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
    rows = case_rows(manifest.metrics, manifest.labels)
    if not rows:
        return section("By case", "Not measured: no patient split was run.")
    return section(
        "By case",
        "Each case is predicted by a model that was not trained on it. The recall of a label that "
        "a case does not contain is unavailable, never 0 or 1.",
        markdown_table(case_header(manifest.labels), rows),
    )


def _network(manifest: Manifest) -> str:
    height, width = manifest.cam_shape
    side_px = manifest.input.side_px
    network = manifest.training["network"]
    system = find_system(network["system"])
    head = "a hidden layer with ReLU"
    if system.head == "svm":
        head = "a linear support vector machine"
    elif network.get("head") == "logistic":
        head = "the average of a logistic regression for each layer"
        if network["texture_weight"] > 0:
            head += f" and of texture measures (weight {network['texture_weight']:g})"
    layers = network.get("backbone", {}).get("layers", ["last"])
    pooled = "global average pooling"
    if layers != ["last"]:
        statistics = str(network["backbone"]["pooling"]).replace("_", " ")
        pooled = f"{statistics} of {_join(layers)}"
    return section(
        "Network",
        f"{system.title} ({system.reference}), {pooled}, {head}, softmax. "
        f"Input: uint8 RGB, {side_px} x {side_px} px, scaled inside the graph. Outputs: logits, an "
        f"embedding of length {manifest.embedding_size} and evidence maps of {height} x {width}. "
        "`manifest.json` has the full configuration, the software versions and the SHA-256 of "
        "every file; `plots/` has confusion matrices, learning curves and reliability diagram. "
        "The tiles in `golden/` were drawn by a program; they are not clinical.",
    )


def _terms(manifest: Manifest) -> str:
    attribution = (
        ""
        if manifest.data.mixed_tiles is None
        else "; attribution is required wherever a tile, or a model trained on them, is published"
    )
    return section(
        "Sources and licences",
        f"- Tiles: {manifest.data.citation} Licence {manifest.data.licence}{attribution}.\n"
        + "".join(
            f"- Also taught by: {one.name}, {one.url}. Licence {one.licence}{attribution}.\n"
            for one in manifest.supplements
        )
        + f"- Initial weights: {manifest.weights.name}. Licence {manifest.weights.licence}."
        f"{_unlicensed(manifest)}",
    )


def _unlicensed(manifest: Manifest) -> str:
    """A sentence if nobody knows under which licence the initial weights are."""
    if has_licence(manifest.weights):
        return ""
    return (
        f" Their SHA-256 is `{manifest.weights.sha256}`. This bundle must not be published, "
        "because nobody knows whether these weights may be."
    )


def _join(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
