"""The tiles of a slide that are most in need of a look, as cards of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.markup import Html, fill, joined
from app.core.review import ReviewReason
from app.slides.outputs.colours import hexadecimal, label_colours
from app.slides.outputs.pictures import data_uri
from app.slides.outputs.subject import OutputSubject, shown_names
from app.slides.tile_rows import TileRow

ReadSquare = Callable[[TileRow], NDArray[np.uint8] | None]
"""Reads a tile as uint8 `[224, 224, 3]`, RGB; None if it cannot."""
MAX_CARDS: Final = 12
_SHORT: Final = {
    ReviewReason.LOW_PROBABILITY: "no label is probable enough",
    ReviewReason.AMBIGUOUS: "several labels are possible",
    ReviewReason.BLANK: "nearly empty",
    ReviewReason.BLURRED: "blurred",
    ReviewReason.NOT_TISSUE: "not in the colours of H&E",
    ReviewReason.OUT_OF_DISTRIBUTION: "unlike the training tiles",
    ReviewReason.NOT_SQUARE: "not square",
    ReviewReason.TOO_SMALL: "enlarged",
    ReviewReason.DAMAGED: "partly damaged",
}
_CARD: Final = """<article class="tile">
$picture<h3><span class="mark">$number</span> $answer</h3>
<p>$reasons</p>
<p class="muted">$fate Column $column, row $row; priority $priority.</p>
</article>
"""


def tiles_to_look_at(rows: Sequence[TileRow]) -> list[TileRow]:
    """Choose tiles by priority, those with more tissue first among equals.

    All excluded tiles have priority 1, and would take all places on most slides. They get at most
    half of the places if there are enough others, because only the others decide the ratio.
    """
    waiting = sorted(
        (row for row in rows if row.reasons and row.class_index is not None),
        key=lambda row: (-row.priority, -row.tissue_share, row.row, row.column),
    )
    excluded = [row for row in waiting if row.excluded_by is not None]
    counted = [row for row in waiting if row.excluded_by is None]
    n_excluded = min(len(excluded), max(MAX_CARDS // 2, MAX_CARDS - len(counted)))
    return counted[: MAX_CARDS - n_excluded] + excluded[:n_excluded]


def review_cards(
    rows: Sequence[TileRow], subject: OutputSubject, read_square: ReadSquare | None
) -> Html:
    """Cards of tiles, numbered from 1 as on the map."""
    return joined(
        _card(number, row, subject, read_square) for number, row in enumerate(rows, start=1)
    )


def _card(
    number: int, row: TileRow, subject: OutputSubject, read_square: ReadSquare | None
) -> Html:
    square = read_square(row) if read_square else None
    picture = Html("")
    if square is not None:
        picture = fill(
            '<img src="$source" alt="Tile $number" width="224" height="224">\n',
            source=data_uri(Image.fromarray(square)),
            number=number,
        )
    return fill(
        _CARD,
        picture=picture,
        number=number,
        answer=_answer(row, subject),
        reasons=_in_words(row.reasons),
        fate="Not counted." if row.excluded_by is not None else "",
        priority=f"{row.priority:.2f}",
        column=row.column,
        row=row.row,
    )


def _answer(row: TileRow, subject: OutputSubject) -> Html:
    label = subject.label_of(row)
    if label is None:
        return Html("Unreadable")
    labels = subject.manifest.labels
    at = labels.index(label)
    return fill(
        '<i class="swatch" style="background:$colour"></i> $name '
        '<span class="muted">$probability</span>',
        colour=hexadecimal(label_colours(labels)[at]),
        name=shown_names(labels)[at],
        probability=f"{max(row.probabilities):.2f}",
    )


def _in_words(reasons: Sequence[str]) -> str:
    words = "; ".join(_SHORT.get(ReviewReason(reason), reason) for reason in reasons)
    return f"{words[:1].upper()}{words[1:]}."
