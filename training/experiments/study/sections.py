"""The sections of a study's report: Markdown generated from the numbers."""

from __future__ import annotations

from functools import partial
from statistics import fmean

from app.core.manifest import SplitMetrics
from training.console.markdown import markdown_table
from training.console.plural import plural
from training.data.label_set import LabelSet
from training.evaluation.published import PUBLISHED
from training.evaluation.split_tables import number
from training.experiments.study import paper
from training.experiments.study.design import PlannedRun
from training.experiments.study.journal import FinishedRun
from training.experiments.study.results import (
    Spread,
    count_leaks,
    split_kind_metrics,
    tumor_counts,
)
from training.experiments.study.study import DoneRuns, Study
from training.networks.registry import SYSTEMS

_NOTHING = "-"
_table = partial(markdown_table, numeric=True)


def data_section(study: Study, done: DoneRuns) -> str:
    """Tiles, runs, backbones, and how much the split leaks."""
    index, config = study.index, study.config
    counts = ", ".join(
        f"{index.labels.count(label.id)} {label.name}" for label in config.labels.root
    )
    slides = len({tile.slide for tile in index.tiles})
    planned = {run.spec.key for run in study.figure_3 + study.table_1}
    finished = {run.spec.key for run, _ in done if run.part != "levels"}
    n_tested = done[0][1].n_test if done else 0
    leaks = "; ".join(
        f"{fmean(pairs):.0f} at a footprint of {footprint}"
        for footprint, pairs in count_leaks(study).items()
    )
    return f"""# Study: {config.name}

Research use only. Every number below names its split.

- **Tiles:** {len(index.tiles)} ({counts}) of \
{plural(slides, "slide")} and {plural(study.n_cases, "case")}; mixed tiles: {index.mixed_tiles}. \
Index SHA-256 `{study.index_sha256}`.
- **Runs:** {len(finished)} of {len(planned)} are finished{_missing(done, study)}.
- **Backbones:** {_backbones(study)}.
- **The split is random and leaks.** As in the paper, each run tests a tenth of the tiles \
({n_tested}), drawn without regard to slide or patient. Mean number of overlapping pairs of tiles \
with one tile on each side of a split: {leaks} (the scale of the names' coordinates is not \
documented). With {plural(n_tested, "test tile")}, one tile is {1 / max(n_tested, 1):.3f} of \
accuracy."""


def figure_3_section(study: Study, cells: dict[tuple[str, int, float], Spread]) -> str:
    """The best learning rate for each system and number of epochs; the figure shows all rates."""
    rows = []
    for system in dict.fromkeys(name for name, _, _ in cells):
        for epochs in sorted({epochs for name, epochs, _ in cells if name == system}):
            rate, spread = max(
                ((r, s) for (n, e, r), s in cells.items() if (n, e) == (system, epochs)),
                key=lambda item: item[1].mean,
            )
            title = SYSTEMS[system].title
            rows.append([title, str(epochs), f"{rate:g}", *_spread(spread)])
    (system, epochs, rate), best = max(cells.items(), key=lambda item: item[1].mean)
    prefix = (
        "Shorter runs are the beginning of the longest one, so they are not independent."
        if study.config.grid.share_prefix
        else "Runs of different lengths are independent: each has its own initial weights."
    )
    table = _table(
        ["system", "epochs", "best rate", "mean", "range", "sd", "best epoch", "runs"], rows
    )
    return f"""## Figure 3: backbones, no augmentation

![Figure 3](figure-3.png)

{table}

Best here: {best.mean:.3f} ({SYSTEMS[system].title}, {plural(epochs, "epoch")}, rate {rate:g}). \
Paper: {paper.FIGURE_3_BEST:.2f} ({SYSTEMS[paper.FIGURE_3_SYSTEM].title}). Mean and range are \
after the last epoch; "best epoch" averages each run's best epoch, which is chosen on the test \
tiles. {prefix}"""


def table_1_section(study: Study, cells: dict[tuple[str, str], Spread]) -> str:
    """Every augmentation, with the paper's number beside ours if the paper has one."""
    rows = []
    for (system, row), spread in cells.items():
        known = (system, row) == (paper.TABLE_1_SYSTEM, paper.TABLE_1_ROW)
        said = f"{paper.TABLE_1_BEST:.4f}" if known else _NOTHING
        rows.append([f"{SYSTEMS[system].title}: {row}", *_spread(spread), said])
    table = study.config.table
    views = (
        f"{table.views_per_epoch} of {table.n_views} cached copies of each original in an epoch"
        if table.mode == "cached"
        else f"new copies of each original in every epoch ({table.views_per_epoch} each)"
    )
    return f"""## Table 1: augmentation

{_table(["original and copies", "mean", "range", "sd", "best epoch", "runs", "paper"], rows)}

Rate {table.learning_rate:g}, {plural(table.epochs, "epoch")}, {views}. A zoom of x magnifies from \
max(1 - x, 0.5) to 1 + x: for x = 1.5 that is the paper's "0.5 to 2.5". The paper's number is the \
best epoch of its best run; our "best epoch" is the mean over all runs."""


def figure_4_section(run: PlannedRun, record: FinishedRun) -> str:
    """The best run, epoch by epoch."""
    return f"""## Figure 4: the best run by epoch

![Figure 4](figure-4.png)

{SYSTEMS[run.system].title}, {run.row}, run {run.number}: {record.best_accuracy:.4f} after epoch \
{record.best_epoch}, {record.last_accuracy:.4f} after the last ({len(record.accuracy)}). As in the \
paper, run and epoch are chosen on the test tiles, so this number is optimistic; the tables above \
hold the means. The paper's best run: {paper.TABLE_1_BEST:.4f}, overfitting from epoch \
{paper.OVERFITS_FROM_EPOCH}."""


def figure_5_section(record: FinishedRun, labels: LabelSet) -> str:
    """The confusion matrix of the best run at its best epoch, and tumour against non-tumour."""
    ours = tumor_counts(record.best_confusion, labels)
    table = _table(
        ["tumour against non-tumour", "here", "paper"],
        [
            ["precision", number(ours.precision), f"{paper.TUMOR_PRECISION:.4f}"],
            ["recall", number(ours.recall), f"{paper.TUMOR_RECALL:.4f}"],
            ["false negatives", str(ours.false_negatives), str(paper.TUMOR_FALSE_NEGATIVES)],
            ["tumour tiles tested", str(ours.n_tumor), "102, inferred"],
            ["tiles tested", str(record.n_test), "170, inferred"],
        ],
    )
    return f"""## Figure 5: the confusion matrix of that run

![Figure 5](figure-5.png)

{table}

{paper.VALIDATION_NOTE}"""


def beyond_section(study: Study, done: DoneRuns) -> str:
    """The best row of each system on random, slide and patient splits, side by side."""
    metrics = split_kind_metrics(study, done)
    if not metrics:
        return ""
    rows = [
        [
            f"{SYSTEMS[system].title}: {row}",
            kind,
            f"{round(value.accuracy * value.n_tiles)} of {value.n_tiles}",
            f"{value.accuracy:.3f}",
            f"{value.accuracy_low:.3f} to {value.accuracy_high:.3f}",
            number(value.macro_f1),
            number(value.classes[-1].recall),
        ]
        for (system, row, kind), value in metrics.items()
    ]
    header = ["best row of Table 1", "split", "correct", "accuracy", "95 % interval", "macro F1"]
    cases = [
        line
        for (system, row, kind), value in metrics.items()
        if kind == "patient"
        for line in _case_rows(f"{SYSTEMS[system].title}: {row}", value, study.config.labels)
    ]
    names = study.config.labels.names
    case_header = ["best row of Table 1", "case left out", "tiles", "accuracy", *names]
    by_case = f"\n\n{_table(case_header, cases)}" if cases else ""
    return f"""## Beyond the paper: unseen slides and patients

{_table([*header, f"{names[-1]} recall"], rows)}{by_case}

All folds are pooled, after the last epoch; intervals resample slides. The row was chosen by its \
accuracy on random splits, so the random split here is optimistic. {PUBLISHED}"""


def method_section(study: Study) -> str:
    """The method, in one paragraph."""
    config = study.config
    left_out = [
        SYSTEMS[name].title
        for name in ("mobilenetv2", "resnet50v2", "xception", "inceptionresnetv2")
        if name not in config.systems
    ]
    absent = f" Not run here: {', '.join(left_out)}." if left_out else ""
    return f"""## Method

Frozen backbone, global average pooling, dense {config.head.hidden_units} (ReLU), softmax \
{len(config.labels)}; Adam with default betas, categorical cross-entropy, batch \
{config.head.batch_size}, constant rate. Each run number has its own split, the same for every \
system, rate and row. Study seed {config.seed}. \
Features are computed once for each tile and view (`docs/study.md`). `results.csv` has one row for \
each run.{absent}"""


def _case_rows(title: str, metrics: SplitMetrics, labels: LabelSet) -> list[list[str]]:
    return [
        [
            title,
            fold.name,
            str(fold.n_tiles),
            f"{fold.accuracy:.3f}",
            *(str(fold.support.get(label, 0)) for label in labels.ids),
        ]
        for fold in metrics.folds
    ]


def _missing(done: DoneRuns, study: Study) -> str:
    finished = {run.spec.key for run, _ in done}
    parts = {run.part for run in study.figure_3 + study.table_1 if run.spec.key not in finished}
    return f"; unfinished: {', '.join(sorted(parts))}" if parts else ""


def _backbones(study: Study) -> str:
    return "; ".join(
        f"{SYSTEMS[name].title}, {system.side_px} px, weights `{study.weights[name][:16]}`"
        for name, system in study.config.systems.items()
    )


def _spread(spread: Spread) -> list[str]:
    return [
        f"{spread.mean:.3f}",
        f"{spread.low:.3f} to {spread.high:.3f}",
        number(spread.deviation),
        f"{spread.best:.3f}",
        str(spread.n_runs),
    ]
