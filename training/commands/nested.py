"""Choose a recipe for unseen patients, and measure the choice without looking at its test tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import (
    DataDir,
    FeatureTableOption,
    IndexFile,
    ThumbnailsOption,
    WeightsOption,
    guarded,
    stoppable,
)
from training.commands.output import say
from training.console.plural import plural
from training.experiments.nested.config import DEFAULT_NESTED, read_nested

app = typer.Typer()


@app.command()
@guarded
def nested(  # noqa: PLR0913, PLR0917 # each option of the command is an argument
    data_dir: DataDir,
    nested_file: Annotated[
        Path,
        typer.Option(
            "--nested",
            help="A TOML file, such as those in `training/experiments/nested/configs/`.",
            show_default=DEFAULT_NESTED.name,
        ),
    ] = DEFAULT_NESTED,
    index_file: IndexFile = Path("runs/index.json"),
    out: Annotated[Path, typer.Option(help="Folder for the choices and the tables.")] = Path(
        "runs/nested"
    ),
    weights: WeightsOption = None,
    thumbnails: ThumbnailsOption = None,
    feature_table: FeatureTableOption = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Only these training seeds; repeat for more.")
    ] = None,
) -> None:
    """Choose a recipe by cases left out, and test the choice on another case left out.

    Every candidate is fitted without a case, on all others. The choice never sees the case on
    which it is tested. Stopped or killed, the same command resumes.

    Example: `osteo-train nested --out runs/nested`
    """
    from training.data.index import read_index
    from training.experiments.nested.run import NestedTask, run_nested
    from training.experiments.nested.tables import write_csv, write_markdown
    from training.features.supplements import read_supplements
    from training.networks.graphs import require_weights
    from training.runs.records import require_trainable

    chosen, base, today = read_nested(nested_file, weights, thumbnails, feature_table)
    if seed:
        chosen = chosen.model_copy(update={"seeds": tuple(seed)})
    found, index_sha256 = read_index(index_file)
    for config in [base, today] if today else [base]:
        require_weights(config.network.weights, config.network.entry)
        require_trainable(found, config)
    supplements = read_supplements(base, found, data_dir)
    task = NestedTask(chosen, base, today, found, index_sha256, data_dir, supplements)
    counts = plural(len(task.candidates), "candidate"), plural(len(chosen.seeds), "seed")
    say(f"{', '.join(counts)}.")
    with stoppable():
        choices = run_nested(task, out)
    table = write_markdown(choices)
    (out / "table.md").write_text(table, encoding="utf-8")
    (out / "answers.csv").write_text(write_csv(choices), encoding="utf-8")
    say(table)
    say(f"{out / 'table.md'}, {out / 'answers.csv'}")
