"""Render the report as Markdown and as HTML from one list of blocks."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from training.collection.inventory import DatasetReport, NamedTile
from training.console.plural import plural

_SHOWN: Final = 200
"""Largest number of rows of a list on the pages; `report.json` has all of them."""
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left}"
    "img{max-width:100%}"
)


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, a paragraph, a table whose first row is its header, or a picture."""

    heading: str = ""
    text: str = ""
    table: tuple[tuple[str, ...], ...] = ()
    picture: str = ""


def to_markdown(report: DatasetReport) -> str:
    """The report as Markdown, ending with a line break."""
    parts = []
    for block in describe(report):
        if block.heading:
            parts.append(f"## {_escaped(block.heading)}")
        if block.text:
            parts.append(_escaped(block.text))
        if block.table:
            head, *rows = (f"| {' | '.join(map(_escaped, row))} |" for row in block.table)
            rule = "|" + " --- |" * len(block.table[0])
            parts.append("\n".join([head, rule, *rows]))
        if block.picture:
            parts.append(f"![{block.picture}]({quote(block.picture)})")
    return "\n\n".join(["# The collection", *parts]) + "\n"


def to_html(report: DatasetReport) -> str:
    """The report as one HTML page that links the pictures beside it."""
    parts = []
    for block in describe(report):
        if block.heading:
            parts.append(f"<h2>{html.escape(block.heading)}</h2>")
        if block.text:
            parts.append(f"<p>{html.escape(block.text)}</p>")
        if block.table:
            head, *rows = block.table
            parts.append("<table>")
            parts.append("".join(["<tr>", *(f"<th>{html.escape(v)}</th>" for v in head), "</tr>"]))
            parts += [
                "".join(["<tr>", *(f"<td>{html.escape(v)}</td>" for v in row), "</tr>"])
                for row in rows
            ]
            parts.append("</table>")
        if block.picture:
            source = html.escape(quote(block.picture))
            parts.append(f'<p><img src="{source}" alt="{html.escape(block.picture)}"></p>')
    title = "The collection"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def describe(report: DatasetReport) -> Iterator[Block]:
    """The report, block by block."""
    table = f"{report.table} (SHA-256 {report.table_sha256})" if report.table else "folders"
    slides = plural(report.n_slides, "slide") if report.n_slides else "unknown slides"
    is_unknown = list(report.tiles_by_case) == ["?"]
    cases = "unknown cases" if is_unknown else plural(len(report.tiles_by_case), "case")
    yield Block(
        text=f"{plural(report.n_tiles, 'tile')} of {slides} and {cases}; "
        f"{plural(report.n_rows, 'row')} in {table}. Sizes: "
        + (", ".join(f"{n} of {size} px" for size, n in report.sizes_px.items()) or "none read")
        + ". Research use only."
    )
    yield Block(heading="Class by case", table=tuple(_counts(report)))
    yield from _list(
        f"Near-blank tiles (less than {report.min_tissue_share:.0%} tissue)",
        ("tile", "case", "class", "tissue"),
        [(t.tile, t.case, t.label, f"{t.tissue_share:.1%}") for t in report.near_blank],
    )
    yield from _list(
        "Tiles that cannot be read",
        ("tile", "case", "class", "reason"),
        [(t.file or t.tile, t.case, t.label, t.reason) for t in report.unreadable],
    )
    yield from _list(
        "Identical files",
        ("files", "classes"),
        [
            (", ".join(_where(t) for t in group), ", ".join(sorted({t.label for t in group})))
            for group in report.same_bytes
        ],
    )
    yield from _list(
        f"Look-alikes, including rotated and mirrored tiles (at most {report.max_bits} of 256 bits "
        "differ)",
        ("one", "other", "classes", "bits"),
        [
            (
                _where(pair.first),
                _where(pair.second),
                ", ".join(sorted({pair.first.label, pair.second.label})),
                str(pair.n_bits),
            )
            for pair in report.look_alikes
        ],
    )
    yield Block(
        heading="Overlaps",
        text="Pairs of tiles of one slide that overlap. The collection does not document how many "
        "pixels of the coordinates a tile covers, so here are three candidates. A random split can "
        "put such pairs on both sides.",
        table=(
            ("side of a tile in px", "overlapping pairs"),
            *((str(side), str(n)) for side, n in report.overlapping_pairs.items()),
        ),
    )
    yield Block(
        heading="Contact sheets",
        text="Frames: near-blank in orange, duplicates in red, unreadable in grey.",
    )
    for sheet in report.sheets:
        yield Block(picture=sheet)


def _counts(report: DatasetReport) -> Iterator[tuple[str, ...]]:
    labels = report.labels
    yield ("case", *labels, "all")
    for case, counts in report.tiles_by_case.items():
        numbers = [counts.get(label, 0) for label in labels]
        yield (case, *map(str, numbers), str(sum(numbers)))
    sums = [sum(c.get(label, 0) for c in report.tiles_by_case.values()) for label in labels]
    yield ("all", *map(str, sums), str(sum(sums)))


def _list(heading: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[Block]:
    if not rows:
        yield Block(heading=heading, text="None.")
        return
    more = len(rows) - _SHOWN
    yield Block(
        heading=heading,
        text=f"{len(rows)}." + (f" The first {_SHOWN} follow." if more > 0 else ""),
        table=(head, *rows[:_SHOWN]),
    )


def _where(tile: NamedTile) -> str:
    return tile.file or tile.tile


def _escaped(text: str) -> str:
    """Escape Markdown: file names may contain any character."""
    for sign in ("\\", "|", "<", "*", "_", "[", "`"):
        text = text.replace(sign, f"\\{sign}" if sign != "<" else "&lt;")
    return text.replace("\n", " ")
