"""The published collection's layout: `Training-Set-*/set*/NAME.jpg` and a table of names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

from training.console.plural import plural
from training.data.annotations import Table
from training.data.tile_files import (
    IMAGE_SUFFIXES,
    find_images,
    is_hidden,
    list_folder,
    require_folder,
)
from training.data.tile_names import file_stem_of, parse_tile_name
from training.data.tile_rules import Rule, TileProblem
from training.data.tile_source import SourceTile, TilePlace, TileSource

_PLACE: Final = "Training-Set-*/set*/"
_PUBLISHED_SUFFIXES: Final = (".jpg", ".jpeg")


def collection_source(data_dir: Path, table: Table) -> TileSource:
    """The tiles that the collection's table names.

    A tile that is not in its place is searched in all folders of the data folder.

    Raises:
        DataError: a folder cannot be read.
    """
    require_folder(data_dir)
    files, problems = find_tile_files(data_dir)
    stems = [file_stem_of(row.name) for row in table.rows]
    elsewhere = _Elsewhere(data_dir) if set(stems) - files.keys() else None
    moved: list[Path] = []
    tiles = []
    for row, stem in zip(table.rows, stems, strict=True):
        file, problem = files.get(stem), None
        if file is None and elsewhere is not None:
            file, problem = elsewhere.find(stem, row.name)
            moved += [file] if file else []
        place = place_of_name(row.name)
        try:
            parse_tile_name(row.name)
        except ValueError as error:
            where = row.name if file is None else relative(file, data_dir)
            problem = TileProblem(Rule.NAME, where, str(error))
        spelled = f"{row.file}, line {row.line}"
        tiles.append(SourceTile(stem, spelled, row.name, row.classification, file, place, problem))
    for stem in sorted(files.keys() - set(stems)):
        problems.append(TileProblem(Rule.NO_ROW, relative(files[stem], data_dir)))
    used = [tile.file for tile in tiles if tile.file is not None]
    notes = (*_moved_note(moved, data_dir), *_format_note(used))
    return TileSource("collection", table.file, table.sha256, tuple(tiles), tuple(problems), notes)


def find_tile_files(data_dir: Path) -> tuple[dict[str, Path], list[TileProblem]]:
    """Tile files by the stem of their name; a second file of the same name is a problem.

    Raises:
        DataError: a folder cannot be read.
    """
    files: dict[str, Path] = {}
    problems = []
    for path in _files_in_sets(data_dir):
        first = files.setdefault(file_stem_of(path.stem), path)
        if first != path:
            where, twin = relative(path, data_dir), relative(first, data_dir)
            problems.append(TileProblem(Rule.DUPLICATE, where, f"same name as {twin}"))
    return files, problems


def place_of_name(name: str) -> TilePlace:
    """What a tile's name says about its place: nothing if it does not follow the pattern."""
    try:
        parsed = parse_tile_name(name)
    except ValueError:
        return TilePlace()
    return TilePlace(parsed.case, parsed.slide, parsed.x, parsed.y)


def relative(path: Path, data_dir: Path) -> str:
    """A path as an index lists it: relative to the data folder, with `/`."""
    return path.relative_to(data_dir).as_posix()


def _files_in_sets(data_dir: Path) -> list[Path]:
    found = []
    for training_set in sorted(data_dir.glob("Training-Set-*")):
        if not training_set.is_dir():
            continue
        for folder in list_folder(training_set):
            if folder.name.startswith("set") and folder.is_dir():
                found += [
                    path
                    for path in list_folder(folder)
                    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
                ]
    return [path for path in found if not is_hidden(path)]


class _Elsewhere:
    """Images anywhere below the data folder, for tiles that are not in their place."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        found = find_images(data_dir)
        self._others = found.others
        self._by_stem: dict[str, list[Path]] = {}
        for path in found.images:
            self._by_stem.setdefault(file_stem_of(path.stem), []).append(path)
        self._n_images = len(found.images)

    def find(self, stem: str, spelled: str) -> tuple[Path | None, TileProblem | None]:
        """The only file of this name, or the problem."""
        paths = self._by_stem.get(stem, [])
        if len(paths) == 1:
            return paths[0], None
        if paths:
            names = " and ".join(relative(path, self._data_dir) for path in paths[:2])
            return None, TileProblem(Rule.DUPLICATE, spelled, f"same name: {names}")
        seen = f"; the folder has {plural(self._n_images, 'image')} with other names"
        if not self._n_images:
            others = ", ".join(
                f"{n} {name or 'without suffix'}" for name, n in self._others.items()
            )
            readable = ", ".join(IMAGE_SUFFIXES)
            seen = f"; the folder has no image ({readable}), but: {others or 'nothing'}"
        return None, TileProblem(Rule.NO_FILE, spelled, f"expected {stem}.jpg in {_PLACE}{seen}")


def _moved_note(moved: list[Path], data_dir: Path) -> list[str]:
    if not moved:
        return []
    folders = Counter(relative(path.parent, data_dir) for path in moved)
    names = ", ".join(list(folders)[:3]) + (", ..." if len(folders) > 3 else "")
    return [f"{plural(len(moved), 'tile')} found outside {_PLACE}, in {names}."]


def _format_note(files: list[Path]) -> list[str]:
    suffixes = Counter(path.suffix.lower() for path in files)
    others = {name: n for name, n in suffixes.items() if name not in _PUBLISHED_SUFFIXES}
    return [f"{plural(n, 'tile')} read from {name} files." for name, n in sorted(others.items())]
