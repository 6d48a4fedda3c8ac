"""Check the collection and split it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.core.manifest import SplitKind
from training.commands.options import (
    ConfigFile,
    DataDir,
    IndexFile,
    LayoutOption,
    Strict,
    TableOption,
    guarded,
)
from training.commands.output import plain, print_counts, say
from training.config import RELEASED_CONFIG, read_config
from training.console.plural import plural
from training.console.progress import ERRORS
from training.data.index import Index
from training.data.labels import MixedTiles, labels_of
from training.data.tile_rules import parse_side
from training.data.unknown_labels import describe_unknown
from training.errors import DataError

app = typer.Typer()

Overlaps = Literal["report", "refuse", "repair"]


@app.command()
@guarded
def index(  # noqa: PLR0913, PLR0917 - every option of the command is an argument
    data_dir: DataDir,
    out: Annotated[Path, typer.Option(help="The index file.")] = Path("runs/index.json"),
    table: TableOption = None,
    layout: LayoutOption = "auto",
    config_file: ConfigFile = RELEASED_CONFIG,
    mixed_tiles: Annotated[
        MixedTiles | None,
        typer.Option(
            help="How the collection's tiles labelled `viable: non-viable` are counted. "
            "[default: from the configuration]"
        ),
    ] = None,
    tile_side_px: Annotated[
        str | None,
        typer.Option(
            help="Side that every tile must have: `N`, `MIN-MAX` or `any`. "
            "[default: from the configuration]"
        ),
    ] = None,
    strict: Strict = True,
    bundle_dir: Annotated[
        Path | None,
        typer.Option("--bundle", help="Take the labels from this bundle, to recalibrate it."),
    ] = None,
) -> None:
    """Check every tile and every row, and write an index.

    The labels are those of `[labels]` in the configuration. If its system reads the collection's
    feature table, the index lists the rows of that table, and no pixels are needed.

    Examples: `osteo-train index --data-dir ~/tcia --mixed-tiles exclude --skip`,
    `osteo-train index --data-dir ~/marrow --config marrow.toml`
    """
    from app.bundle import open_bundle
    from training.console.progress import tracked
    from training.data.feature_table import feature_source
    from training.data.index import IndexRules, index_tiles
    from training.data.index_checks import require_no_problems, require_tiles
    from training.data.layouts import open_source
    from training.networks.table_systems import find_table_system
    from training.storage.disk import writing
    from training.storage.frozen_model import write_json

    config = read_config(config_file)
    labels = labels_of(open_bundle(bundle_dir.resolve()).manifest) if bundle_dir else config.labels
    side_px = config.data.tile_side_px if tile_side_px is None else parse_side(tile_side_px)
    rules = IndexRules(labels, mixed_tiles or config.data.mixed_tiles, side_px)
    if table_system := find_table_system(config.network.system):
        if layout != "auto":
            raise DataError(f"{table_system.title} reads a feature table. Leave out --layout.")
        source = feature_source(data_dir, table)
    else:
        source = open_source(data_dir, labels, layout, table)
    for note in source.notes:
        say(note)
    found, problems = index_tiles(source, data_dir, rules, tracked("Checking tiles"))
    if strict:
        require_no_problems(problems, labels, found.labels)
    require_tiles(found, problems)
    for problem in problems:
        ERRORS.print(f"left out: {plain(problem)}", soft_wrap=True, highlight=False)
    if unknown := describe_unknown(problems, labels, found.labels):
        ERRORS.print(plain(unknown), soft_wrap=True, highlight=False)
    with writing(out.parent, DataError, "--out"):
        sha256 = write_json(out, found)
    print_counts(found)
    say(f"{plural(len(found.tiles), 'tile')} of {_slides(found)}; {len(problems)} left out.")
    say(f"{out}  sha256 {sha256}")


@app.command()
@guarded
def split(
    index_file: IndexFile = Path("runs/index.json"),
    kind: Annotated[
        SplitKind, typer.Option(help="What is never on both sides of a fold.")
    ] = "slide",
    folds: Annotated[
        int | None,
        typer.Option(help="[default: 1 for random (90/10), 5 for slide; patient: one each case]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="[default: runs/KIND.json]")] = None,
    footprint_px: Annotated[
        int,
        typer.Option(min=1, help="Side of a tile in the pixels of its name; finds overlaps."),
    ] = 2048,
    overlaps: Annotated[
        Overlaps,
        typer.Option(
            help="If tiles on both sides share tissue: `report` them, `refuse` the split, or "
            "`repair` it by keeping overlapping tiles together."
        ),
    ] = "report",
) -> None:
    """Split the tiles into folds for cross-validation.

    Examples: `osteo-train split --kind random --folds 1 --seed 3`,
    `osteo-train split --kind random --folds 10 --overlaps repair --footprint-px 4096`
    """
    from training.data.index import read_index
    from training.data.overlaps import FOOTPRINTS_PX
    from training.data.splits import make_split
    from training.errors import SplitError
    from training.evaluation.leakage import find_leaks, require_no_leaks
    from training.evaluation.split_tables import SLIDES_UNKNOWN
    from training.storage.disk import writing
    from training.storage.frozen_model import write_json

    found, index_sha256 = read_index(index_file, needs_pixels=False)
    n_folds = folds if folds is not None else (1 if kind == "random" else 5)
    kept_px = footprint_px if overlaps == "repair" else None
    made = make_split(found, index_sha256, kind, n_folds, seed, kept_px)
    if overlaps != "report":
        require_no_leaks(found, made, footprint_px)
    out = out or Path("runs") / f"{kind}.json"
    with writing(out.parent, SplitError, "--out"):
        sha256 = write_json(out, made)
    for fold in made.folds:
        say(f"{fold.name}: {len(fold.test)} of {len(found.tiles)} tiles in the test set")
    if found.knows_corners:
        for side_px in sorted({*FOOTPRINTS_PX, footprint_px}):
            say(str(find_leaks(found, made, side_px)))
    else:
        say("Overlaps were not searched for: slide, x and y of the tiles are unknown.")
    if not found.knows_slides:
        say(f"Warning. {SLIDES_UNKNOWN}")
    say(f"{out}  sha256 {sha256}")


def _slides(found: Index) -> str:
    if not found.knows_slides:
        return "unknown slides"
    return plural(len({tile.slide for tile in found.tiles}), "slide")
