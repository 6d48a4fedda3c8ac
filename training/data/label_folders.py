"""One folder for each label: `LABEL/*.jpg`, `LABEL/SLIDE/*.jpg` or `LABEL/CASE/SLIDE/*.jpg`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from training.console.plural import plural
from training.data.collection_tiles import relative
from training.data.label_set import LabelSet
from training.data.tile_files import find_images
from training.data.tile_rules import Rule, TileProblem
from training.data.tile_source import SourceTile, TilePlace, TileSource
from training.errors import DataError

_MAX_FOLDERS = 3
"""Label, case and slide."""


def folder_source(data_dir: Path, labels: LabelSet) -> TileSource:
    """The tiles in folders that are named after labels.

    Raises:
        DataError: a folder cannot be read, there is no tile, or tiles lie at different depths.
    """
    images = find_images(data_dir).images
    root = root_of_labels(data_dir, images, labels)
    parts = {path: path.relative_to(root).parts for path in images}
    loose = [path for path in images if len(parts[path]) == 1]
    inside = [path for path in images if len(parts[path]) > 1]
    depths = Counter(len(parts[path]) - 1 for path in inside)
    if not inside:
        raise DataError(f"{data_dir} has no images in folders that are named after labels.")
    if len(depths) > 1 or max(depths) > _MAX_FOLDERS:
        found = ", ".join(
            f"{plural(n, 'tile')} in {plural(d, 'folder')}" for d, n in depths.items()
        )
        raise DataError(
            f"{root} has tiles at different depths, or too deep ({found}). Use LABEL/TILE, "
            "LABEL/SLIDE/TILE or LABEL/CASE/SLIDE/TILE for all tiles."
        )
    tiles = tuple(_tile_of(path, parts[path], data_dir) for path in inside)
    problems = tuple(TileProblem(Rule.PLACE, relative(path, data_dir)) for path in loose)
    notes = [] if root == data_dir else [f"The labels' folders are in {relative(root, data_dir)}."]
    return TileSource("folders", "", None, tiles, problems, tuple(notes))


def root_of_labels(data_dir: Path, images: tuple[Path, ...], labels: LabelSet) -> Path:
    """The folder of the labels' folders: the data folder, or the only folder in it.

    Raises:
        DataError: several folders have folders that are named after labels.
    """
    root = data_dir
    while True:
        parts = [path.relative_to(root).parts for path in images]
        tops = {part[0] for part in parts if len(part) > 1}
        deeper = {part[1] for part in parts if len(part) > 2}
        if any(map(labels.find, tops)) or not any(map(labels.find, deeper)):
            return root
        if len(tops) > 1 or any(len(part) == 1 for part in parts):
            names = ", ".join(sorted(tops)[:6])
            raise DataError(
                f"The folders {names} in {root} hold the folders of the labels. Put all tiles of a "
                "label into one folder, or pass one of these folders as --data-dir."
            )
        root /= tops.pop()


def _tile_of(path: Path, parts: tuple[str, ...], data_dir: Path) -> SourceTile:
    name = relative(path, data_dir)
    label, *groups = parts[:-1]
    place = TilePlace(
        case=groups[0] if len(groups) == 2 else None,
        slide="/".join(groups) if groups else None,
    )
    return SourceTile(name, name, name, label, path, place)
