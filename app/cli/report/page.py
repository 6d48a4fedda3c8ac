"""The page of a report around its tiles: notice, counts, model, explanations and foot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from app import __version__
from app.cli.report.card import bar
from app.cli.report.images import colour_bar
from app.cli.report.reasons import REASONS
from app.cli.report.summary import Summary
from app.cli.table import label_name
from app.core.errors import counted
from app.core.manifest import Label, Manifest, SplitMetrics
from app.core.markup import Html, fill, fill_file, joined, read_template
from app.core.review import ReviewReason
from app.inference.results import RESEARCH_USE, ModelIdentity

_TEMPLATES = Path(__file__).parent / "templates"

FAILURES: Final = "<!-- failures -->"
TILES: Final = "<!-- tiles -->"
_HELD_OUT: Final = {
    "random": "random tiles; tiles of one slide can be in both parts",
    "slide": "whole slides",
    "patient": "whole patients",
}
_NAMES_SHOWN: Final = (
    "File names may identify patients. Before you pass this page on, write it again with "
    "--hide-names."
)
_NAMES_HIDDEN: Final = (
    "Numbers replace the names of files. They are the rows of the CSV, which has the names, as the "
    "JSON does: keep both. The SHA-256 identifies a tile for everybody who has it."
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about.

    Attributes:
        heading: of the page.
        names_are_hidden: whether the page calls tiles by numbers.
        skipped: a sentence about files that were not tried; None if there are none.
        created: the time of the report, in UTC.
    """

    heading: str
    names_are_hidden: bool
    skipped: str | None
    created: datetime


def page_around_tiles(
    subject: Subject, summary: Summary, model: ModelIdentity, manifest: Manifest
) -> tuple[str, str, str]:
    """The page before the files without an answer, between them and the tiles, and after those."""
    labels = manifest.labels
    page = fill_file(
        _TEMPLATES / "page.html",
        style=read_template(_TEMPLATES / "style.css"),
        filter_style=joined(map(_filter_rule, labels)),
        filters=joined(map(_filter, labels)),
        notice=RESEARCH_USE,
        heading=subject.heading,
        created=f"{subject.created:%Y-%m-%d %H:%M} UTC",
        version=__version__,
        files=_files_sentence(summary, subject.skipped),
        class_mix=_class_mix(summary, labels),
        review=_review_sentence(summary),
        reasons=_reasons(summary),
        model=model.name,
        model_version=model.version,
        bundle_sha256=model.bundle_sha256,
        splits=_splits(manifest.metrics),
        colour_bar=colour_bar(),
        failures=_failures_sentence(summary),
        names=_NAMES_HIDDEN if subject.names_are_hidden else _NAMES_SHOWN,
    )
    head, rest = page.split(FAILURES)
    middle, foot = rest.split(TILES)
    return head, middle, foot


def _files_sentence(summary: Summary, skipped: str | None) -> str:
    sentences = [f"{counted(summary.n_tiles, 'tile')} classified."]
    if summary.n_failed:
        sentences.append(f"{counted(summary.n_failed, 'file')} without an answer.")
    return " ".join([*sentences, *([skipped] if skipped else [])])


def _failures_sentence(summary: Summary) -> str:
    n_files = summary.n_tiles + summary.n_failed
    return f"{summary.n_failed} of {n_files}:" if summary.n_failed else "None."


def _class_mix(summary: Summary, labels: Sequence[Label]) -> Html:
    return joined(
        bar(label_name(label), share, f"{number} ({share:.0%})")
        for label in labels
        for number in [summary.predictions[label.id]]
        for share in [number / max(1, summary.n_tiles)]
    )


def _review_sentence(summary: Summary) -> str:
    if not summary.n_for_review:
        return "No tile needs a look."
    verb = "needs" if summary.n_for_review == 1 else "need"
    return f"{summary.n_for_review} of {counted(summary.n_tiles, 'tile')} {verb} a look."


def _reasons(summary: Summary) -> Html:
    item = "<li><b>$number</b>: $why <code>$reason</code></li>"
    return joined(
        fill(item, number=number, why=REASONS[ReviewReason(reason)], reason=str(reason))
        for reason, number in summary.reasons.most_common()
    )


def _splits(metrics: Sequence[SplitMetrics]) -> Html:
    row = (
        '<tr><th scope="row">$split</th><td>$held_out</td><td class="number">$accuracy</td>'
        '<td class="number">$low to $high</td><td class="number">$f1</td>'
        '<td class="number">$n_tiles</td><td class="number">$n_folds</td></tr>'
    )
    if not metrics:
        return Html('<tr><td colspan="7">The bundle has no measurements.</td></tr>')
    return joined(
        fill(
            row,
            split=split.split,
            held_out=_HELD_OUT[split.split],
            accuracy=f"{split.accuracy:.0%}",
            low=f"{split.accuracy_low:.0%}",
            high=f"{split.accuracy_high:.0%}",
            f1=f"{split.macro_f1:.2f}",
            n_tiles=split.n_tiles,
            n_folds=split.n_folds,
        )
        for split in metrics
    )


def _filter(label: Label) -> Html:
    choice = '<label><input type="radio" name="show" id="only-$id"> $name</label>\n'
    return fill(choice, id=label.id, name=label_name(label))


def _filter_rule(label: Label) -> Html:
    rule = "body:has(#only-$id:checked) .tile:not(.label-$id) { display: none }\n"
    return fill(rule, id=label.id)
