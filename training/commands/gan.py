"""Synthetic tiles: fit generators for the folds of a split, and look at what they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import DataDir, IndexFile, guarded, say, stoppable

app = typer.Typer(name="gan", no_args_is_help=True)


@app.callback()
def gan() -> None:
    """Fit a small class-conditional GAN, and make tiles with it.

    `osteo-train gan fit --split runs/slide.json --data-dir ~/tcia --out runs/gan`

    `osteo-train gan sample runs/gan/slide-1 --out runs/synthetic`
    """


@app.command()
@guarded
def fit(
    data_dir: DataDir,
    out: Annotated[Path, typer.Option(help="Receives a folder a generator.")] = Path("runs/gan"),
    index_file: IndexFile = Path("runs/index.json"),
    split_file: Annotated[
        Path | None,
        typer.Option("--split", help="A generator a fold. Without: one that sees all tiles."),
    ] = None,
    side_px: Annotated[int, typer.Option(help="32, 64 or 128: side of the tiles made.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Each shows 512 real tiles.")] = 60,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit generators; run the command again to go on after an interruption.

    With `--split` each fold gets its own, which sees the fold's training tiles and no others, so
    that its tiles can be added to a cross-validation (`[gan]` in the configuration).

    Example: `osteo-train gan fit --split runs/slide.json --side-px 64 --epochs 60 --out runs/gan`
    """
    from pydantic import ValidationError

    from training.data.index import read_index
    from training.data.labels import require_every_label
    from training.data.splits import read_split
    from training.errors import GanError
    from training.gan.jobs import fit_generators, plan_generators
    from training.gan.record import GanSettings

    try:
        settings = GanSettings.model_validate({"side_px": side_px, "epochs": epochs, "seed": seed})
    except ValidationError as error:
        raise GanError(f"--side-px: {error.errors()[0]['msg']}.") from error
    index, index_sha256 = read_index(index_file)
    require_every_label(index.labels)
    chosen = read_split(split_file, index_sha256) if split_file else None
    jobs = plan_generators(out, settings, index, index_sha256, chosen)
    with stoppable():
        for folder, record in fit_generators(jobs, index, data_dir):
            say(f"{folder}: fitted on {len(record.seen)} of {len(index.tiles)} tiles.")


@app.command()
@guarded
def sample(
    folder: Annotated[Path, typer.Argument(help="One generator of `osteo-train gan fit`.")],
    out: Annotated[Path, typer.Option(help="Receives the PNGs.")],
    count: Annotated[int, typer.Option(min=1, help="Tiles a label.")] = 16,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Make tiles of every label, for the eye; their names cannot enter an index.

    Example: `osteo-train gan sample runs/gan/slide-1 --count 8 --out runs/synthetic`
    """
    from training.gan.jobs import write_samples

    n_written = write_samples(folder, out, count, seed)
    say(f"{out}: {n_written} synthetic tiles and grid.png. Not for diagnosis, not for tests.")
