"""Index a folder of tiles: check every tile once, so that later steps need not.

The index is a JSON file with relative paths and no timestamps, so the same data give the same
bytes, and its SHA-256 identifies the data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from training.data.annotations import Table
from training.data.collection_tiles import collection_source, relative
from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS, MixedTiles, label_id_of
from training.data.tile_rules import (
    COLLECTION_MODES,
    COLLECTION_SIDE_PX,
    OWN_MODES,
    Rule,
    TileProblem,
    TileSide,
    inspect_pixels,
)
from training.data.tile_source import COLLECTION_LAYOUTS, Layout, SourceTile, TileSource
from training.errors import DataError
from training.storage.frozen_model import FrozenModel


class IndexedTile(FrozenModel):
    """A tile that passed every check; `file` is relative to the data directory, with `/`.

    `case`, `slide`, `x` and `y` are null if the table or folder does not say them. In the layout
    `features`, `file` is the table and `sha256` that of the row's features.
    """

    name: str
    file: str
    sha256: str
    case: str | None
    slide: str | None
    x: int | None
    y: int | None
    raw_label: str
    label: str


class Index(FrozenModel):
    """The checked tiles, sorted by name, and the table they come from.

    `layout` and `label_set` are left out of the file if they are those of the collection, so that
    its index keeps its SHA-256. Without a table, `table` is empty and `table_sha256` is that of the
    tiles' SHA-256.
    """

    schema_version: Literal[1] = 1
    layout: Layout = Field(default="collection", exclude_if=lambda value: value == "collection")
    label_set: LabelSet = Field(
        default=COLLECTION_LABELS, exclude_if=lambda value: value == COLLECTION_LABELS
    )
    mixed_tiles: MixedTiles
    table: str
    table_sha256: str
    tiles: tuple[IndexedTile, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Label id of each tile, in order."""
        return tuple(tile.label for tile in self.tiles)

    @property
    def knows_slides(self) -> bool:
        """Whether the slide of every tile is known."""
        return all(tile.slide is not None for tile in self.tiles)

    @property
    def knows_cases(self) -> bool:
        """Whether the case of every tile is known."""
        return all(tile.case is not None for tile in self.tiles)

    @property
    def knows_corners(self) -> bool:
        """Whether slide, x and y of every tile are known, so that overlaps can be found."""
        return self.knows_slides and all(
            tile.x is not None and tile.y is not None for tile in self.tiles
        )


@dataclass(frozen=True, slots=True)
class IndexRules:
    """What a tile must be.

    Attributes:
        labels: the labels that a tile may have.
        mixed_tiles: how the collection's `viable: non-viable` tiles are counted.
        side_px: the side that a tile must have.
    """

    labels: LabelSet = COLLECTION_LABELS
    mixed_tiles: MixedTiles = "viable"
    side_px: TileSide = COLLECTION_SIDE_PX


def build_index(
    data_dir: Path,
    table: Table,
    mixed_tiles: MixedTiles = "viable",
    side_px: TileSide = COLLECTION_SIDE_PX,
    track: Callable[[Sequence[SourceTile]], Iterable[SourceTile]] = iter,
) -> tuple[Index, tuple[TileProblem, ...]]:
    """Index the published collection; see `index_tiles`.

    Args:
        data_dir: the collection.
        table: the collection's table.
        mixed_tiles: how `viable: non-viable` tiles are counted.
        side_px: the side that every tile must have.
        track: wraps the tiles to show progress.
    """
    source = collection_source(data_dir, table)
    return index_tiles(source, data_dir, IndexRules(COLLECTION_LABELS, mixed_tiles, side_px), track)


def index_tiles(
    source: TileSource,
    data_dir: Path,
    rules: IndexRules,
    track: Callable[[Sequence[SourceTile]], Iterable[SourceTile]] = iter,
) -> tuple[Index, tuple[TileProblem, ...]]:
    """Check every tile that a folder names, and every file.

    Args:
        source: the tiles.
        data_dir: the folder.
        rules: labels and sides.
        track: wraps the tiles to show progress.

    Returns:
        The index of the tiles that break no rule, and the problems of the others.

    Raises:
        DataError: no tile is named.
    """
    problems: list[TileProblem] = []
    tiles: dict[str, IndexedTile] = {}
    names_seen: set[str] = set()
    first_by_sha256: dict[str, SourceTile] = {}
    for tile in track(source.tiles):
        checked = _check_tile(tile, source.layout, data_dir, rules)
        if tile.name in names_seen:
            checked = TileProblem(Rule.REPEATED_ROW, tile.row, tile.spelled)
        names_seen.add(tile.name)
        if isinstance(checked, TileProblem):
            problems.append(checked)
        elif checked is not None:
            twin = first_by_sha256.setdefault(checked.sha256, tile)
            if twin is not tile:
                same = f"same as {_place_of(twin, data_dir)}"
                problems.append(TileProblem(Rule.DUPLICATE, _place_of(tile, data_dir), same))
            else:
                tiles[tile.name] = checked
    if not source.tiles and not source.problems:
        raise DataError(f"{source.table} has no rows, so there is nothing to train on.")
    chosen = tuple(tiles[name] for name in sorted(tiles))
    index = Index(
        layout=source.layout,
        label_set=rules.labels,
        mixed_tiles=rules.mixed_tiles,
        table=source.table,
        table_sha256=source.table_sha256 or _sha256_of_tiles(chosen),
        tiles=chosen,
    )
    return index, (*source.problems, *problems)


def read_index(path: Path, needs_pixels: bool = True) -> tuple[Index, str]:
    """Read an index file.

    Args:
        path: the file.
        needs_pixels: refuse rows of a feature table, which most commands can do nothing with.

    Returns:
        The index and the SHA-256 of its file.

    Raises:
        DataError: there is no such file, it is not an index, or its tiles have no pixels.
    """
    try:
        content = path.read_bytes()
        index = Index.model_validate_json(content)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Make one with 'osteo-train index'.") from error
    except ValidationError as error:
        raise DataError(
            f"{path} is not an index of this version. Make it again with 'osteo-train index'."
        ) from error
    if needs_pixels and index.layout == "features":
        raise DataError(
            f"{path} lists rows of a feature table, but this command needs pixels. Make an index "
            "of tiles, with the configuration of a system that reads them."
        )
    return index, hashlib.sha256(content).hexdigest()


def read_tile_file(tile: IndexedTile, data_dir: Path) -> bytes:
    """The content of an indexed tile's file.

    Raises:
        DataError: the file cannot be read, or has changed since it was indexed.
    """
    file = data_dir / tile.file
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != tile.sha256:
        raise DataError(f"{file} has changed since it was indexed. Run 'osteo-train index' again.")
    return content


def _check_tile(
    tile: SourceTile, layout: Layout, data_dir: Path, rules: IndexRules
) -> IndexedTile | TileProblem | None:
    """The tile, or the first rule it breaks, or None if its label is excluded."""
    where = _place_of(tile, data_dir)
    if tile.problem is not None and tile.problem.rule is Rule.NAME:
        return tile.problem
    try:
        label = _label_of(tile.raw_label, layout, rules)
    except ValueError as error:
        return TileProblem(Rule.LABEL, where, str(error), tile.raw_label)
    if tile.problem is not None or tile.file is None:
        return tile.problem or TileProblem(Rule.NO_FILE, where)
    sha256 = tile.measures_sha256 or _sha256_of_image(tile.file, where, layout, rules)
    if isinstance(sha256, TileProblem) or label is None:
        return sha256 if isinstance(sha256, TileProblem) else None
    return IndexedTile(
        name=tile.name,
        file=relative(tile.file, data_dir),
        sha256=sha256,
        case=tile.place.case,
        slide=tile.place.slide,
        x=tile.place.x,
        y=tile.place.y,
        raw_label=tile.raw_label,
        label=label,
    )


def _sha256_of_image(
    file: Path, where: str, layout: Layout, rules: IndexRules
) -> str | TileProblem:
    """SHA-256 of an image's bytes, or the first rule that its pixels break."""
    try:
        content = file.read_bytes()
    except OSError as error:
        return TileProblem(Rule.UNREADABLE, where, str(error.strerror))
    modes = COLLECTION_MODES if layout == "collection" else OWN_MODES
    problem = inspect_pixels(content, where, rules.side_px, modes)
    return problem or hashlib.sha256(content).hexdigest()


def _place_of(tile: SourceTile, data_dir: Path) -> str:
    """What problems call a tile: its file or, without a file of its own, its row."""
    if tile.measures_sha256 is not None:
        return tile.row
    return tile.spelled if tile.file is None else relative(tile.file, data_dir)


def _label_of(raw_label: str, layout: Layout, rules: IndexRules) -> str | None:
    """Label id; None if the tile is excluded. Only the collection has mixed tiles."""
    if layout in COLLECTION_LAYOUTS:
        return label_id_of(raw_label, rules.mixed_tiles, rules.labels)
    label = rules.labels.find(raw_label)
    if label is None:
        raise ValueError(f"{raw_label!r} is not one of {', '.join(rules.labels.names)}")
    return label


def _sha256_of_tiles(tiles: Sequence[IndexedTile]) -> str:
    listed = "\n".join(f"{tile.sha256} {tile.label}" for tile in tiles)
    return hashlib.sha256(listed.encode()).hexdigest()
