"""Fit generators of synthetic tiles for the folds of a split, and sample from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import DataDir, IndexFile, guarded, stoppable
from training.commands.output import say
from training.console.plural import plural

app = typer.Typer(name="gan", no_args_is_help=True)


@app.callback()
def gan() -> None:
    """Fit a small class-conditional GAN, and generate tiles with it.

    `osteo-train gan fit --split runs/slide.json --data-dir ~/tcia --out runs/gan`

    `osteo-train gan sample runs/gan/slide-1 --out runs/synthetic`
    """


@app.command()
@guarded
def fit(
    data_dir: DataDir,
    out: Annotated[Path, typer.Option(help="Folder in which each generator gets a folder.")] = Path(
        "runs/gan"
    ),
    index_file: IndexFile = Path("runs/index.json"),
    split_file: Annotated[
        Path | None,
        typer.Option(
            "--split", help="Fit one generator for each fold; without it, one on all tiles."
        ),
    ] = None,
    side_px: Annotated[int, typer.Option(help="Side of the generated tiles: 32, 64 or 128.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Each epoch shows 512 real tiles.")] = 60,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit generators. Stopped or killed, the same command resumes where it stopped.

    With `--split` each fold gets a generator that sees only the fold's training tiles, so that a
    cross-validation can use its tiles (`[gan]` in the configuration).

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
    require_every_label(index.labels, index.label_set)
    chosen = read_split(split_file, index_sha256) if split_file else None
    jobs = plan_generators(out, settings, index, index_sha256, chosen)
    with stoppable():
        for folder, record in fit_generators(jobs, index, data_dir):
            say(f"{folder}: fitted on {len(record.seen)} of {plural(len(index.tiles), 'tile')}.")


@app.command()
@guarded
def sample(
    folder: Annotated[Path, typer.Argument(help="A generator that `osteo-train gan fit` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the PNGs.")],
    count: Annotated[int, typer.Option(min=1, help="Tiles of each label.")] = 16,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Generate tiles of every label to look at. `osteo-train index` rejects their names.

    Example: `osteo-train gan sample runs/gan/slide-1 --count 8 --out runs/synthetic`
    """
    from training.gan.jobs import write_samples

    n_written = write_samples(folder, out, count, seed)
    tiles = plural(n_written, "synthetic tile")
    say(f"{out}: {tiles} and grid.png. Not for diagnosis, not for tests.")
