"""A plain table of one's own tiles: `file,label`, and optionally `slide,case,x,y`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from training.console.plural import plural
from training.data.collection_tiles import relative
from training.data.text_tables import Columns, Row, read_columns
from training.data.tile_files import IMAGE_SUFFIXES, Found, find_images
from training.data.tile_rules import Rule, TileProblem
from training.data.tile_source import SourceTile, TilePlace, TileSource

Value = TypeVar("Value")

FILE_COLUMN: Final = "file"
LABEL_COLUMN: Final = "label"
_PLACE_COLUMNS: Final[tuple[str, ...]] = ("slide", "case", "x", "y")
PLAIN_COLUMNS: Final = Columns(
    (FILE_COLUMN, LABEL_COLUMN),
    _PLACE_COLUMNS,
    lambda file, label: file.lower().endswith(IMAGE_SUFFIXES) and bool(label),
)


def plain_source(data_dir: Path, table: Path) -> TileSource:
    """The tiles that a plain table names.

    `file` is relative to the data folder or to the table's folder. Backslashes may separate
    folders, and the suffix may be missing if one file has that name.

    Raises:
        DataError: the table or a folder cannot be read.
    """
    read = read_columns(table, PLAIN_COLUMNS)
    finder = _Finder(data_dir, table, find_images(data_dir))
    filled = {
        name
        for name in _PLACE_COLUMNS
        if name in read.columns and any(row.values[name] for row in read.rows)
    }
    tiles = [_tile_of(row, read.file, finder, filled) for row in read.rows]
    used = {tile.file for tile in tiles}
    n_other = sum(path not in used for path in finder.images)
    notes = [f"{plural(n_other, 'image')} without a row left out."] if n_other else []
    return TileSource("table", read.file, read.sha256, _qualified(tiles), (), tuple(notes))


class _Finder:
    """Finds the file that a row names."""

    def __init__(self, data_dir: Path, table: Path, found: Found) -> None:
        self.images, self._data_dir = found.images, data_dir
        self._others = found.other_files
        self._by_name: dict[str, list[Path]] = {}
        for path in found.images:
            name = relative(path, data_dir)
            exact, loose = _composed(name), _composed(name).casefold()
            stem = loose.rpartition(".")[0]
            for key in dict.fromkeys((exact, f"loose {loose}", f"loose {stem}")):
                self._by_name.setdefault(key, []).append(path)
        folder = table.resolve().parent
        root = data_dir.resolve()
        beside = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else "."
        self._starts = list(dict.fromkeys(("", "" if beside == "." else f"{beside}/")))

    def name_of(self, file: Path) -> str:
        """A file's path as the index lists it."""
        return relative(file, self._data_dir)

    def find(self, spelled: str, row: str) -> Path | TileProblem:
        """The only file of this name, or the problem."""
        name = _composed(spelled.replace("\\", "/").removeprefix("./"))
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or ":" in parts[0]:
            detail = f"{spelled!r} is not a path inside {self._data_dir}"
            return TileProblem(Rule.PLACE, row, detail)
        name = "/".join(parts)
        keys = [f"{start}{name}" for start in self._starts]
        for candidates in (keys, [f"loose {key.casefold()}" for key in keys]):
            paths = list(dict.fromkeys(p for key in candidates for p in self._by_name.get(key, [])))
            if len(paths) == 1:
                return paths[0]
            if paths:
                both = " and ".join(self.name_of(p) for p in paths[:2])
                return TileProblem(Rule.NO_FILE, row, f"{spelled} may be {both}")
        seen = plural(len(self.images), "image")
        if name in self._others:
            return TileProblem(
                Rule.NO_FILE, row, f"{spelled} is none of {', '.join(IMAGE_SUFFIXES)}"
            )
        return TileProblem(
            Rule.NO_FILE, row, f"{spelled} is not in {self._data_dir}, which has {seen}"
        )


def _tile_of(row: Row, table: str, finder: _Finder, filled: set[str]) -> SourceTile:
    where, spelled = f"{table}, line {row.line}", row.values[FILE_COLUMN]
    found = finder.find(spelled, where)
    file = found if isinstance(found, Path) else None
    problem = found if isinstance(found, TileProblem) else None
    lacking = [name for name in sorted(filled) if not row.values[name]]
    place = TilePlace()
    if lacking:
        problem = problem or TileProblem(Rule.GROUP, where, f"no {' and no '.join(lacking)}")
    else:
        try:
            place = _place_of(row, filled)
        except ValueError as error:
            problem = problem or TileProblem(Rule.GROUP, where, str(error))
    name = spelled if file is None else finder.name_of(file)
    return SourceTile(name, where, spelled, row.values[LABEL_COLUMN], file, place, problem)


def _place_of(row: Row, filled: set[str]) -> TilePlace:
    def value(name: str, convert: Callable[[str], Value]) -> Value | None:
        return convert(row.values[name]) if name in filled else None

    return TilePlace(
        case=value("case", str),
        slide=value("slide", str),
        x=value("x", _whole_number),
        y=value("y", _whole_number),
    )


def _whole_number(text: str) -> int:
    number = float(text.replace(",", ".")) if text else float("nan")
    if not number.is_integer():
        raise ValueError(f"{text!r} is not a whole number of pixels")
    return int(number)


def _qualified(tiles: Sequence[SourceTile]) -> tuple[SourceTile, ...]:
    """Put the case before the slide if two cases have a slide of the same name."""
    pairs = {(tile.place.case, tile.place.slide) for tile in tiles if tile.problem is None}
    if None in {case for case, _ in pairs} or len(pairs) == len({slide for _, slide in pairs}):
        return tuple(tiles)
    return tuple(
        replace(tile, place=replace(tile.place, slide=f"{tile.place.case}/{tile.place.slide}"))
        if tile.place.slide is not None
        else tile
        for tile in tiles
    )


def _composed(name: str) -> str:
    """A file's name with composed characters; macOS writes `ü` as two."""
    return unicodedata.normalize("NFC", name)
