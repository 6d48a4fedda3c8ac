"""`osteo-train`: from a folder of labelled tiles to a released bundle.

The commands import TensorFlow and scikit-learn when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import typer

from training.commands import (
    ablations,
    bundles,
    collection,
    dataset,
    gan,
    nested,
    runs,
    sharing,
    study,
    systems,
    trust,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Train the tile classifier and release it as a bundle. Research use only.

    All steps in one command, with the settings of the released model:

    `OSTEO_DATA_DIR=~/tcia OSTEO_WEIGHTS=imagenet osteo-train release`

    The same step by step:

    `osteo-train dataset fetch --url https://mirror.example/osteosarcoma/ --data-dir ~/tcia`

    `osteo-train index --data-dir ~/tcia --out runs/index.json`

    `osteo-train split --index runs/index.json --kind slide --out runs/slide.json`

    `osteo-train fit --index runs/index.json --split runs/slide.json --out runs/slide`

    `osteo-train evaluate runs/slide`
    """,
)
for topic in (
    *(dataset, collection, runs, bundles, trust, sharing, systems, gan, ablations, nested, study),
):
    app.add_typer(topic.app)

if __name__ == "__main__":
    app()
