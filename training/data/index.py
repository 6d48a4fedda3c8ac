"""Index a collection: check every tile once, so that later steps need not.

The collection has `Training-Set-*/set*/NAME.jpg` and a table (CSV) with the columns
`image.name,classification`. The index is a JSON file with relative paths and no timestamps, so the
same data give the same bytes, and its SHA-256 identifies the data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from training.data.annotations import Table, TableRow
from training.data.labels import MixedTiles, label_id_of
from training.data.tile_names import file_stem_of, parse_tile_name
from training.data.tile_rules import COLLECTION_SIDE_PX, Rule, TileProblem, inspect_pixels
from training.errors import DataError, TileProblemsError
from training.storage.frozen_model import FrozenModel

_IMAGE_SUFFIXES: Final = (".jpg", ".jpeg")


class IndexedTile(FrozenModel):
    """A tile that passed every check; `file` is relative to the data directory, with `/`."""

    name: str
    file: str
    sha256: str
    case: str
    slide: str
    x: int
    y: int
    raw_label: str
    label: str


class Index(FrozenModel):
    """The checked tiles, sorted by name, and the table they come from."""

    schema_version: Literal[1] = 1
    mixed_tiles: MixedTiles
    table: str
    table_sha256: str
    tiles: tuple[IndexedTile, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Label id of each tile, in order."""
        return tuple(tile.label for tile in self.tiles)


def build_index(
    data_dir: Path,
    table: Table,
    mixed_tiles: MixedTiles = "viable",
    side_px: int = COLLECTION_SIDE_PX,
    track: Callable[[Sequence[TableRow]], Iterable[TableRow]] = iter,
) -> tuple[Index, tuple[TileProblem, ...]]:
    """Check every row of the table and every file of the folder.

    Args:
        data_dir: the collection.
        table: the collection's table.
        mixed_tiles: how `viable: non-viable` tiles are counted.
        side_px: the side that every tile must have, in pixels.
        track: wraps the rows to show progress.

    Returns:
        The index of the tiles that break no rule, and the problems of the others.

    Raises:
        DataError: the table is empty.
    """
    files, problems = find_tile_files(data_dir)
    tiles: dict[str, IndexedTile] = {}
    names_seen: set[str] = set()
    name_by_sha256: dict[str, str] = {}
    for row in track(table.rows):
        stem = file_stem_of(row.name)
        file = files.get(stem)
        checked = _check_tile(row, stem, file, data_dir, mixed_tiles, side_px)
        if stem in names_seen:
            checked = TileProblem(Rule.REPEATED_ROW, f"{table.file}, line {row.line}", row.name)
        names_seen.add(stem)
        if isinstance(checked, TileProblem):
            problems.append(checked)
        elif checked is not None:
            twin = name_by_sha256.setdefault(checked.sha256, checked.file)
            if twin != checked.file:
                problems.append(TileProblem(Rule.DUPLICATE, checked.file, f"same as {twin}"))
            else:
                tiles[stem] = checked
    for stem in sorted(files.keys() - names_seen):
        problems.append(TileProblem(Rule.NO_ROW, _relative(files[stem], data_dir)))
    if not tiles and not problems:
        raise DataError(f"{table.file} has no rows, so there is nothing to train on.")
    index = Index(
        mixed_tiles=mixed_tiles,
        table=table.file,
        table_sha256=table.sha256,
        tiles=tuple(tiles[stem] for stem in sorted(tiles)),
    )
    return index, tuple(problems)


def require_no_problems(problems: Sequence[TileProblem]) -> None:
    """Strict mode: reject tiles with problems.

    Raises:
        TileProblemsError: there are problems; the message lists them.
    """
    if problems:
        raise TileProblemsError(problems)


def read_index(path: Path) -> tuple[Index, str]:
    """Read an index file.

    Returns:
        The index and the SHA-256 of its file.

    Raises:
        DataError: there is no such file, or it is not an index.
    """
    try:
        content = path.read_bytes()
        return Index.model_validate_json(content), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Make one with 'osteo-train index'.") from error
    except ValidationError as error:
        raise DataError(
            f"{path} is not an index of this version. Make it again with 'osteo-train index'."
        ) from error


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


def find_tile_files(data_dir: Path) -> tuple[dict[str, Path], list[TileProblem]]:
    """Tile files by the stem of their name; a second file of the same name is a problem."""
    files: dict[str, Path] = {}
    problems = []
    for path in sorted(data_dir.glob("Training-Set-*/set*/*")):
        if path.suffix.lower() not in _IMAGE_SUFFIXES or not path.is_file():
            continue
        first = files.setdefault(file_stem_of(path.stem), path)
        if first != path:
            where, twin = _relative(path, data_dir), _relative(first, data_dir)
            problems.append(TileProblem(Rule.DUPLICATE, where, f"same name as {twin}"))
    return files, problems


def _check_tile(
    row: TableRow,
    stem: str,
    file: Path | None,
    data_dir: Path,
    mixed_tiles: MixedTiles,
    side_px: int,
) -> IndexedTile | TileProblem | None:
    """The row's tile, or the first rule it breaks, or None if its label is excluded."""
    where = row.name if file is None else _relative(file, data_dir)
    try:
        name = parse_tile_name(row.name)
    except ValueError as error:
        return TileProblem(Rule.NAME, where, str(error))
    try:
        label = label_id_of(row.classification, mixed_tiles)
    except ValueError as error:
        return TileProblem(Rule.LABEL, where, str(error))
    if file is None:
        return TileProblem(Rule.NO_FILE, row.name, f"expected {stem}.jpg in Training-Set-*/set*/")
    try:
        content = file.read_bytes()
    except OSError as error:
        return TileProblem(Rule.UNREADABLE, where, str(error.strerror))
    problem = inspect_pixels(content, where, side_px)
    if problem is not None or label is None:
        return problem
    return IndexedTile(
        name=stem,
        file=where,
        sha256=hashlib.sha256(content).hexdigest(),
        case=name.case,
        slide=name.slide,
        x=name.x,
        y=name.y,
        raw_label=row.classification,
        label=label,
    )


def _relative(path: Path, data_dir: Path) -> str:
    return path.relative_to(data_dir).as_posix()
