"""How many tiles each label got, and what was left out, as parts of the report."""

from __future__ import annotations

from collections import Counter
from typing import Final

from app.core.markup import Html, fill, joined
from app.slides.outputs.colours import hexadecimal, label_colours
from app.slides.outputs.subject import OutputSubject, shown_names

_EXCLUDED: Final = {
    "blank": "Nearly empty",
    "not_tissue": "Not in the colours of H&E",
    "out_of_distribution": "Unlike the training tiles",
}
_COUNT: Final = (
    '<tr><th scope="row"><i class="swatch" style="background:$colour"></i> $name</th>'
    '<td class="bar"><i style="width:$percent%;background:$colour"></i></td>'
    '<td class="number">$n</td><td class="number">$area</td></tr>\n'
)
_ROW: Final = (
    '<tr><th scope="row">$name</th><td class="number">$n</td><td class="number">$share</td></tr>\n'
)


def legend(subject: OutputSubject) -> Html:
    """The colours of the class map."""
    labels = subject.manifest.labels
    swatch = '<span><i class="swatch" style="background:$colour"></i> $name</span>\n'
    entries = [
        fill(swatch, colour=hexadecimal(colour), name=name)
        for name, colour in zip(shown_names(labels), label_colours(labels), strict=True)
    ]
    if sum(subject.summary.tiles.excluded.values()):
        entries.append(Html('<span><i class="swatch hatched"></i> Not counted</span>\n'))
    if subject.summary.tiles.n_unreadable:
        entries.append(Html('<span><i class="swatch crossed"></i> Unreadable</span>\n'))
    return joined(entries)


def count_rows(subject: OutputSubject) -> Html:
    """A row for each label: tiles that count, and their area."""
    labels = subject.manifest.labels
    counts = Counter(label.id for row in subject.rows if (label := subject.counts_as(row)))
    return joined(
        fill(
            _COUNT,
            colour=hexadecimal(colour),
            name=name,
            percent=f"{100 * counts[label.id] / max(1, counts.total()):.1f}",
            n=counts[label.id],
            area=f"{counts[label.id] * subject.grid.tile_area_mm2:.0f}",
        )
        for label, name, colour in zip(
            labels, shown_names(labels), label_colours(labels), strict=True
        )
    )


def excluded_rows(subject: OutputSubject) -> Html:
    """A row for each reason why classified tiles are left out."""
    tiles = subject.summary.tiles
    return joined(
        fill(
            _ROW,
            name=_EXCLUDED.get(reason, reason),
            n=n,
            share=f"{tiles.excluded_share.get(reason, 0):.1%}",
        )
        for reason, n in tiles.excluded.items()
    )
