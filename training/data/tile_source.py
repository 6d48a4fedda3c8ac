"""What a layout says about each tile, before the files are checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.data.tile_rules import TileProblem

Layout = Literal["collection", "table", "folders"]
"""`collection`: as published; `table`: a plain table of files and labels; `folders`: one folder for
each label."""


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
    """

    name: str
    row: str
    spelled: str
    raw_label: str
    file: Path | None
    place: TilePlace = TilePlace()
    problem: TileProblem | None = None


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
