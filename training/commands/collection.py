"""Check the collection and split it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.core.manifest import SplitKind
from training.commands.options import DataDir, IndexFile, Strict, TableOption, guarded
from training.commands.output import plain, print_counts, say
from training.console.plural import plural
from training.console.progress import ERRORS
from training.data.labels import MixedTiles

app = typer.Typer()

Overlaps = Literal["report", "refuse", "repair"]


@app.command()
@guarded
def index(
    data_dir: DataDir,
    out: Annotated[Path, typer.Option(help="The index file.")] = Path("runs/index.json"),
    table: TableOption = None,
    mixed_tiles: Annotated[
        MixedTiles, typer.Option(help="How tiles labelled `viable: non-viable` are counted.")
    ] = "viable",
    tile_side_px: Annotated[int, typer.Option(help="Side that every tile must have.")] = 1024,
    strict: Strict = True,
) -> None:
    """Check every tile and row of the collection and write an index.

    Example: `osteo-train index --data-dir ~/tcia --mixed-tiles exclude --skip`
    """
    from training.console.progress import tracked
    from training.data.annotations import find_table, read_table
    from training.data.index import build_index, require_no_problems
    from training.storage.frozen_model import write_json

    found, problems = build_index(
        data_dir,
        read_table(table or find_table(data_dir)),
        mixed_tiles,
        tile_side_px,
        tracked("Checking tiles"),
    )
    if strict:
        require_no_problems(problems)
    for problem in problems:
        ERRORS.print(f"left out: {plain(problem)}", soft_wrap=True, highlight=False)
    sha256 = write_json(out, found)
    print_counts(found)
    slides = plural(len({tile.slide for tile in found.tiles}), "slide")
    say(f"{plural(len(found.tiles), 'tile')} of {slides}; {len(problems)} left out.")
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
    from training.evaluation.leakage import find_leaks, require_no_leaks
    from training.storage.frozen_model import write_json

    found, index_sha256 = read_index(index_file)
    n_folds = folds if folds is not None else (1 if kind == "random" else 5)
    kept_px = footprint_px if overlaps == "repair" else None
    made = make_split(found, index_sha256, kind, n_folds, seed, kept_px)
    if overlaps != "report":
        require_no_leaks(found, made, footprint_px)
    out = out or Path("runs") / f"{kind}.json"
    sha256 = write_json(out, made)
    for fold in made.folds:
        say(f"{fold.name}: {len(fold.test)} of {len(found.tiles)} tiles in the test set")
    for side_px in sorted({*FOOTPRINTS_PX, footprint_px}):
        say(str(find_leaks(found, made, side_px)))
    say(f"{out}  sha256 {sha256}")
