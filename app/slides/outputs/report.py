"""`report.html`: one page about a slide, which a pathologist reads in 20 seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app import __version__
from app.core.errors import counted
from app.core.markup import Html, fill, joined, read_template
from app.slides.outputs.interval_chart import METHODS, interval_chart
from app.slides.outputs.label_counts import count_rows, excluded_rows, legend
from app.slides.outputs.place_map import map_figures
from app.slides.outputs.review_tiles import ReadSquare, review_cards, tiles_to_look_at
from app.slides.outputs.subject import OutputSubject
from app.slides.results import Necrosis

_TEMPLATES = Path(__file__).parent / "templates"

_GROUPS: Final = {
    "good": "Good response (90 % or more)",
    "poor": "Poor response (below 90 %)",
    "undetermined": "Undetermined",
}
_PAIR: Final = '<tr><th scope="row">$name</th><td>$value</td></tr>\n'


def write_report(
    path: Path,
    overview: NDArray[np.uint8],
    subject: OutputSubject,
    read_square: ReadSquare | None,
) -> None:
    """Write the page: one file that needs no other file, no script and no network.

    Args:
        path: the file.
        overview: uint8 `[h, w, 3]`, RGB, the whole of level 0.
        subject: the answer and its tiles.
        read_square: reads the tiles that are shown one by one; without it they have no picture.

    Raises:
        OSError: the file cannot be written.
    """
    summary, grid = subject.summary, subject.grid
    necrosis = summary.necrosis
    shown = tiles_to_look_at(subject.rows)
    slide = summary.slide
    mm_per_px = slide.mpp / 1000
    page = fill(
        read_template(_TEMPLATES / "report.html"),
        style=read_template(_TEMPLATES / "report.css"),
        notice=summary.notice,
        status=summary.status.capitalize(),
        incomplete=_incomplete(subject),
        size=f"{slide.width_px * mm_per_px:.3g} × {slide.height_px * mm_per_px:.3g}",  # noqa: RUF001 - the sign of a product
        sha256_start=summary.sha256[:12],
        number=_number(necrosis),
        group_class=necrosis.huvos_group,
        group=_GROUPS[necrosis.huvos_group],
        reason=necrosis.reason or "",
        chart=interval_chart(necrosis),
        details=_details(necrosis),
        bias=_bias(necrosis),
        figures=map_figures(overview, subject, shown),
        legend=legend(subject),
        counts=count_rows(subject),
        excluded=excluded_rows(subject),
        n_tissue=summary.tiles.n_tissue,
        n_grid=summary.tiles.n_grid,
        side=f"{grid.side_um:.0f}",
        review=_review_sentence(subject, len(shown)),
        cards=review_cards(shown, subject, read_square),
        unreadable=_unreadable(subject),
        facts=_facts(subject),
        settings=_pairs(summary.parameters),
        model=_pairs(summary.model.model_dump()),
        version=__version__,
    )
    path.write_text(page, encoding="utf-8")


def _number(necrosis: Necrosis) -> Html:
    if necrosis.ratio is None:
        return Html('<p class="ratio none">No ratio</p>')
    return fill(
        '<p class="ratio">$percent&nbsp;%</p>\n'
        "<p>of the tumour area is read as <strong>non-viable</strong> (necrosis ratio $ratio: "
        "$n_dead of $n_all tumour tiles, $area&nbsp;mm²).</p>",
        percent=f"{100 * necrosis.ratio:.0f}",
        ratio=f"{necrosis.ratio:.3f}",
        n_dead=necrosis.n_non_viable,
        n_all=necrosis.n_viable + necrosis.n_non_viable,
        area=f"{necrosis.tumor_area_mm2:.0f}",
    )


def _details(necrosis: Necrosis) -> Html:
    if not necrosis.intervals:
        return Html("<p>Without a ratio there are no intervals.</p>")
    items = joined(
        fill(
            "<li><b>$name</b>, $level&nbsp;%: $low to $high. $detail</li>\n",
            name=METHODS[interval.method],
            level=f"{100 * interval.level:g}",
            low=f"{interval.low:.3f}",
            high=f"{interval.high:.3f}",
            detail=interval.detail,
        )
        for interval in necrosis.intervals
    )
    summary = "<details><summary>How the intervals were computed</summary>\n"
    return fill(f"{summary}<ul>\n$items</ul>\n</details>\n", items=items)


def _bias(necrosis: Necrosis) -> Html:
    if necrosis.bias is None:
        return Html("")
    return fill('<p class="bias"><strong>Known bias.</strong> $bias</p>', bias=necrosis.bias)


def _incomplete(subject: OutputSubject) -> Html:
    tiles = subject.summary.tiles
    if subject.summary.complete:
        return Html("")
    missing = tiles.n_tissue - tiles.n_classified
    sentence = f"{counted(missing, 'tissue tile')} of {tiles.n_tissue} without an answer"
    return fill(
        '<p class="notice alarm"><strong>Incomplete.</strong> $sentence; '
        "the ratio leaves them out.</p>",
        sentence=sentence,
    )


def _review_sentence(subject: OutputSubject, n_shown: int) -> str:
    tiles = subject.summary.tiles
    if not tiles.n_review:
        return "No tile needs a look."
    verb = "needs" if tiles.n_review == 1 else "need"
    sentence = f"{tiles.n_review} of {counted(tiles.n_classified, 'tile')} {verb} a look"
    if n_shown < tiles.n_review:
        sentence += f"; the {n_shown} most urgent are below"
    return f"{sentence}. The numbers are those on the map."


def _unreadable(subject: OutputSubject) -> Html:
    summary = subject.summary
    if not summary.tiles.n_unreadable:
        return Html("<p>None: all tissue tiles could be read.</p>")
    items = joined(
        fill(
            "<li>Column $column, row $row: $reason</li>\n",
            column=tile.column,
            row=tile.row,
            reason=tile.reason,
        )
        for tile in summary.unreadable
    )
    left = summary.tiles.n_unreadable - len(summary.unreadable)
    more = fill("<p>And $left more; tiles.csv has them all.</p>", left=left) if left else Html("")
    return joined([Html("<ul>"), items, Html("</ul>"), more])


def _facts(subject: OutputSubject) -> Html:
    slide, summary = subject.summary.slide, subject.summary
    levels = ", ".join(f"{level.downsample:.4g}" for level in slide.levels)
    return _pairs(
        {
            "Format": slide.format,
            "Level 0": f"{slide.width_px:,} × {slide.height_px:,} px",  # noqa: RUF001 - as above
            "Resolution": f"{slide.mpp:.4g} µm per pixel, stated by the {slide.mpp_source}",
            "Objective": f"{slide.objective_power:g} x" if slide.objective_power else "not stated",
            "Levels (downsample)": levels,
            "Size of file": f"{slide.n_bytes / 1e6:,.1f} MB",
            "Tile": f"{summary.tile_side_um:.0f} µm, {summary.tile_side_level0:.1f} px of level 0",
            "SHA-256": summary.sha256,
        }
    )


def _pairs(values: Mapping[str, object]) -> Html:
    return joined(
        fill(_PAIR, name=name, value="none" if value is None else value)
        for name, value in values.items()
    )
