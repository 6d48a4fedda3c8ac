"""Contact sheets: the tiles of a class, case by case, with frames around odd ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from training.collection.survey import SurveyedTile, read_thumbnail
from training.console.plural import plural
from training.data.tiles import evenly_spaced

NEAR_BLANK, ALIKE, UNREADABLE = "near-blank", "duplicate", "unreadable"
_FRAME_COLOURS: Final = {NEAR_BLANK: "#e08a1e", ALIKE: "#c02942", UNREADABLE: "#555555"}
_COLUMNS: Final = 12
_SIDE_PX: Final = 112
_GAP_PX: Final = 8
_FRAME_PX: Final = 4
_CAPTION_PX: Final = 16
_HEADING_PX: Final = 34
_ROWS_A_PAGE: Final = 24
_INK: Final = "#222222"
_CAPTION_CHARACTERS: Final = 20


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a page: a heading, or up to twelve tiles."""

    heading: str = ""
    tiles: tuple[SurveyedTile, ...] = ()

    @property
    def height_px(self) -> int:
        return _HEADING_PX if self.heading else _SIDE_PX + _CAPTION_PX + _GAP_PX


def write_sheets(
    out: Path,
    label: str,
    tiles: Sequence[SurveyedTile],
    data_dir: Path,
    marks: Mapping[str, str],
    most_a_case: int,
    colour: str | None = None,
) -> list[str]:
    """Write the pages of one class.

    Args:
        out: folder for the PNGs.
        label: the class, for file names and headings.
        tiles: the tiles of the class, sorted by name.
        data_dir: the collection.
        marks: what is odd about a tile (`NEAR_BLANK`, `ALIKE`, `UNREADABLE`), by its stem.
        most_a_case: at most this many tiles of a case are shown, evenly spaced.
        colour: of the headings.

    Returns:
        The names of the files, in order.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "class"
    names = []
    for number, rows in enumerate(_pages(_rows(label, tiles, most_a_case)), start=1):
        name = f"sheet-{slug}.png" if number == 1 else f"sheet-{slug}-{number}.png"
        _draw(rows, data_dir, marks, colour or _INK).save(out / name, optimize=True)
        names.append(name)
    return names


def _rows(label: str, tiles: Sequence[SurveyedTile], most_a_case: int) -> Iterator[_Row]:
    for case in sorted({tile.case for tile in tiles}):
        of_case = [tile for tile in tiles if tile.case == case]
        shown = [of_case[i] for i in evenly_spaced(len(of_case), most_a_case)]
        part = "" if len(shown) == len(of_case) else f", {len(shown)} shown"
        yield _Row(heading=f"{label} · {case} · {plural(len(of_case), 'tile')}{part}")
        for start in range(0, len(shown), _COLUMNS):
            yield _Row(tiles=tuple(shown[start : start + _COLUMNS]))


def _pages(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    page: list[_Row] = []
    for row in rows:
        # A heading must not be the last line of a page.
        if len(page) >= _ROWS_A_PAGE - bool(row.heading):
            yield page
            page = []
        page.append(row)
    if page:
        yield page


def _draw(
    rows: Sequence[_Row], data_dir: Path, marks: Mapping[str, str], colour: str
) -> Image.Image:
    columns = max(max((len(row.tiles) for row in rows), default=1), 5)
    width_px = columns * (_SIDE_PX + _GAP_PX) + _GAP_PX
    page = Image.new("RGB", (width_px, sum(row.height_px for row in rows) + _GAP_PX), "white")
    pen = ImageDraw.Draw(page)
    small, large = ImageFont.load_default(10), ImageFont.load_default(16)
    top = _GAP_PX
    for row in rows:
        if row.heading:
            pen.text((_GAP_PX, top + 6), row.heading, colour, large)
        for i, tile in enumerate(row.tiles):
            left = _GAP_PX + i * (_SIDE_PX + _GAP_PX)
            mark = marks.get(tile.stem, "")
            pixels = read_thumbnail(data_dir / tile.file, _SIDE_PX) if tile.file else None
            if pixels is None:
                pen.rectangle((left, top, left + _SIDE_PX, top + _SIDE_PX), "#dddddd")
                pen.text(
                    (left + 6, top + 6), "no file" if not tile.file else UNREADABLE, _INK, small
                )
            else:
                page.paste(Image.fromarray(pixels), (left, top))
            if mark:
                box = (left - 2, top - 2, left + _SIDE_PX + 1, top + _SIDE_PX + 1)
                pen.rectangle(box, outline=_FRAME_COLOURS[mark], width=_FRAME_PX)
            pen.text((left, top + _SIDE_PX + 1), _caption(tile), _INK, small)
        top += row.height_px
    return page


def _caption(tile: SurveyedTile) -> str:
    if tile.place.slide is None or tile.place.x is None:
        return tile.stem[-_CAPTION_CHARACTERS:]
    return f"{tile.place.slide.rpartition('-')[2]} {tile.place.x}-{tile.place.y}"
