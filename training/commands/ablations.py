"""Measure which ingredients of a training recipe help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import DataDir, IndexFile, WeightsOption, guarded, stoppable
from training.commands.output import say
from training.console.plural import plural
from training.experiments.ablation.config import RELEASED_ABLATION, read_ablation

app = typer.Typer()


@app.command()
@guarded
def ablate(
    data_dir: DataDir,
    ablation_file: Annotated[
        Path,
        typer.Option(
            "--ablation",
            help="A TOML file, such as those in `training/experiments/ablation/configs/`.",
            show_default=RELEASED_ABLATION.name,
        ),
    ] = RELEASED_ABLATION,
    index_file: IndexFile = Path("runs/index.json"),
    out: Annotated[Path, typer.Option(help="Folder for the runs and the tables.")] = Path(
        "runs/ablation"
    ),
    weights: WeightsOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Check everything, count the runs, and stop.")
    ] = False,
) -> None:
    """Measure recipes by slide and by patient over several seeds, and tabulate what helps.

    Stopped or killed, the same command resumes: every finished run is one line of `runs.jsonl`.

    Example: `osteo-train ablate --out runs/ablation`
    """
    from training.data.index import read_index
    from training.experiments.ablation.run import run_ablation
    from training.experiments.ablation.tables import write_csv, write_markdown
    from training.networks.graphs import require_weights
    from training.runs.records import require_trainable

    ablation, recipes = read_ablation(ablation_file, weights)
    data = read_index(index_file)
    for recipe in recipes:
        require_weights(recipe.config.network.weights, recipe.config.network.entry)
        require_trainable(data[0], recipe.config)
    n_runs = len(recipes) * len(ablation.seeds) * (1 + len(ablation.fold_seeds))
    counts = plural(len(recipes), "recipe"), plural(len(ablation.seeds), "seed")
    say(f"{', '.join(counts)}: {plural(n_runs, 'cross-validation')}.")
    if plan:
        return
    with stoppable():
        records = run_ablation(ablation, recipes, data, data_dir, out)
    table = write_markdown(records)
    (out / "table.md").write_text(table, encoding="utf-8")
    (out / "runs.csv").write_text(write_csv(records), encoding="utf-8")
    say(table)
    say(f"{out / 'table.md'}, {out / 'runs.csv'}")
