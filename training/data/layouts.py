"""Find out how a folder names its tiles, and read it so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final, Literal

from training.console.plural import plural
from training.data.annotations import (
    COLLECTION_COLUMNS,
    SortedTables,
    read_tables,
    several_tables,
    sort_tables,
    tables_of,
)
from training.data.collection_tiles import collection_source
from training.data.label_folders import folder_source, root_of_labels
from training.data.label_set import LabelSet
from training.data.plain_tables import PLAIN_COLUMNS, plain_source
from training.data.text_tables import Columns
from training.data.tile_files import files_below, find_images, list_folder, require_folder
from training.data.tile_source import Layout, TileSource
from training.data.unknown_labels import labels_to_write
from training.errors import DataError

LayoutChoice = Literal["auto", "collection", "table", "folders"]
"""`auto` finds the layout by what the folder contains."""

_COLUMNS: Final[dict[Layout, Columns]] = {"collection": COLLECTION_COLUMNS, "table": PLAIN_COLUMNS}


def open_source(
    data_dir: Path, labels: LabelSet, layout: LayoutChoice = "auto", table: Path | None = None
) -> TileSource:
    """The tiles of a folder, by the layout that it has.

    Args:
        data_dir: the folder.
        labels: the labels of the configuration, which folders may be named after.
        layout: how the folder names its tiles; `auto` looks at tables and names of folders.
        table: the table; if None, it is searched in the folder.

    Raises:
        DataError: the folder or a table cannot be read, or the folder has none of the layouts, or
            several.
    """
    require_folder(data_dir)
    if layout == "folders":
        if table:
            raise DataError("--layout folders reads no table. Leave out --table.")
        return folder_source(data_dir, labels)
    kinds: dict[Layout, Columns] = _COLUMNS if layout == "auto" else {layout: _COLUMNS[layout]}
    tables = sort_tables([table], kinds) if table else _find_tables(data_dir, kinds)
    if table and not tables.all:
        raise DataError(f"{table} is not a table of tiles.{tables.passed_over}")
    if tables.paths.get("collection"):
        return collection_source(data_dir, read_tables(tables.paths["collection"]))
    if tables.paths.get("table"):
        return plain_source(data_dir, tables.paths["table"][0])
    if layout == "auto" and _has_label_folders(data_dir, labels):
        return folder_source(data_dir, labels)
    raise DataError(_nothing_found(data_dir, labels, tables.passed_over))


def _find_tables(data_dir: Path, kinds: dict[Layout, Columns]) -> SortedTables:
    """The tables of the folder; if it has none, those of the folders below."""
    beside = sort_tables(tables_of(list_folder(data_dir)), kinds)
    if len(beside.all) > 1:
        raise several_tables(data_dir, beside.all)
    if beside.all:
        return beside
    below = sort_tables(tables_of(files_below(data_dir)), kinds)
    # The collection has one table for each set of tiles.
    if len(below.all) > 1 and below.paths.get("table"):
        raise several_tables(data_dir, below.all)
    return below


def _has_label_folders(data_dir: Path, labels: LabelSet) -> bool:
    images = find_images(data_dir).images
    root = root_of_labels(data_dir, images, labels)
    parts = (path.relative_to(root).parts for path in images)
    return any(labels.find(part[0]) for part in parts if len(part) > 1)


def _nothing_found(data_dir: Path, labels: LabelSet, passed_over: str) -> str:
    found = find_images(data_dir)
    tops = Counter(
        parts[0]
        for parts in (path.relative_to(data_dir).parts for path in found.images)
        if len(parts) > 1
    )
    said = (
        f"{data_dir} holds no CSV file with the columns image.name and classification, none with "
        f"file and label, and no folder that is named after a label ({', '.join(labels.names)}). "
        f"Name a table with --table.{passed_over}"
    )
    if tops:
        names = ", ".join(f"{name} ({plural(n, 'image')})" for name, n in tops.most_common(8))
        return f"{said} It has the folders {names}. {labels_to_write(tops, labels)}"
    if found.images:
        return f"{said} It has {plural(len(found.images), 'image')}."
    others = ", ".join(f"{n} {name or 'without suffix'}" for name, n in found.others.most_common(5))
    return f"{said} It has no images{f', but: {others}' if others else ''}."
