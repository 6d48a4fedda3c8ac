"""What a layout says about each tile, before the files are checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from training.data.tile_rules import TileProblem

Layout = Literal["collection", "table", "folders", "features"]
"""`collection`: as published; `table`: a plain table of files and labels; `folders`: one folder for
each label; `features`: rows of the collection's feature table, without pixels."""
COLLECTION_LAYOUTS: Final[frozenset[Layout]] = frozenset({"collection", "features"})
"""The layouts with the collection's names and classifications."""


@dataclass(frozen=True, slots=True)
class TilePlace:
    """Where a tile was cut; None if the source does not say it.

    Attributes:
        case: the patient.
        slide: the slide; tiles of one slide have the same name of the slide.
        x, y: the tile's corner on the slide, in pixels of one scale.
    """

    case: str | None = None
    slide: str | None = None
    x: int | None = None
    y: int | None = None


@dataclass(frozen=True, slots=True)
class SourceTile:
    """A tile that a layout names.

    Attributes:
        name: identifies the tile in splits and runs.
        row: where it is named, such as `tiles.csv, line 5`.
        spelled: its name as the table spells it.
        raw_label: its label as the table or folder spells it.
        file: None if there is no such file; `problem` then says where it was expected.
        place: where it was cut.
        problem: what is already known to be wrong.
        measures_sha256: SHA-256 of the row's features, if they describe the tile instead of pixels;
            `file` is then the table.
    """

    name: str
    row: str
    spelled: str
    raw_label: str
    file: Path | None
    place: TilePlace = TilePlace()
    problem: TileProblem | None = None
    measures_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class TileSource:
    """All tiles of a folder.

    Attributes:
        layout: how the folder names them.
        table: the name of the table; empty without a table.
        table_sha256: SHA-256 of its bytes; None without a table.
        tiles: in the order of the table, or sorted by name.
        problems: files that break a rule and that no entry of `tiles` names.
        notes: what the user should know, in sentences.
    """

    layout: Layout
    table: str
    table_sha256: str | None
    tiles: tuple[SourceTile, ...]
    problems: tuple[TileProblem, ...] = ()
    notes: tuple[str, ...] = ()
