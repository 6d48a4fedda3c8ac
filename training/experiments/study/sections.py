"""The sections of a study's report, each Markdown made of numbers; nothing is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from app.core.manifest import SplitMetrics
from training.data.labels import LABELS
from training.experiments.study import paper
from training.experiments.study.design import PlannedRun
from training.experiments.study.journal import RunRecord
from training.experiments.study.results import (
    Spread,
    count_leaks,
    split_kind_metrics,
    tumor_counts,
)
from training.experiments.study.study import DoneRuns, Study
from training.networks.registry import SYSTEMS

_NOTHING = "-"


def data_section(study: Study, done: DoneRuns) -> str:
    """What was run on what, how much of it is done, and what the split is worth."""
    index, config = study.index, study.config
    counts = ", ".join(f"{index.labels.count(label.id)} {label.name}" for label in LABELS)
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

- **Tiles:** {len(index.tiles)} ({counts}) of {slides} slides and {study.n_cases} case(s); mixed \
tiles: {index.mixed_tiles}. Index SHA-256 `{study.index_sha256}`.
- **Runs:** {len(finished)} of {len(planned)} are done{_missing(done, study)}.
- **Base networks:** {_bases(study)}.
- **The split is random and leaks.** As in the paper, each run tests a tenth of the tiles \
({n_tested}), drawn without regard to slide or patient. Overlapping pairs of tiles across the \
line, mean of the splits: {leaks} (the scale of the names' coordinates is not \
documented). With {n_tested} tested tiles one tile is {1 / max(n_tested, 1):.3f} of accuracy."""


def figure_3_section(study: Study, cells: dict[tuple[str, int, float], Spread]) -> str:
    """The best learning rate of each system and number of epochs; the figure shows all."""
    rows = []
    for system in dict.fromkeys(name for name, _, _ in cells):
        for epochs in sorted({number for name, number, _ in cells if name == system}):
            rate, spread = max(
                ((r, s) for (n, e, r), s in cells.items() if (n, e) == (system, epochs)),
                key=lambda item: item[1].mean,
            )
            title = SYSTEMS[system].title
            rows.append([title, str(epochs), f"{rate:g}", *_spread(spread)])
    (system, epochs, rate), best = max(cells.items(), key=lambda item: item[1].mean)
    prefix = (
        "Fewer epochs are the beginning of the longest run, so they are no independent runs."
        if study.config.grid.share_prefix
        else "Each number of epochs was trained on its own, from other initial weights."
    )
    table = _table(
        ["best rate of each", "epochs", "rate", "mean", "range", "sd", "best epoch", "runs"], rows
    )
    return f"""## Figure 3: base networks, no augmentation

![Figure 3](figure-3.png)

{table}

Best here: {best.mean:.3f} ({SYSTEMS[system].title}, {epochs} epochs, rate {rate:g}). Paper: \
{paper.FIGURE_3_BEST:.2f} ({SYSTEMS[paper.FIGURE_3_SYSTEM].title}). Mean and range are after the \
last epoch; "best epoch" takes each run's best and so chooses on the tested tiles. {prefix}"""


def table_1_section(study: Study, cells: dict[tuple[str, str], Spread]) -> str:
    """Every augmentation, the paper's numbers beside ours where it prints them."""
    rows = []
    for (system, row), spread in cells.items():
        known = (system, row) == (paper.TABLE_1_SYSTEM, paper.TABLE_1_ROW)
        said = f"{paper.TABLE_1_BEST:.4f}" if known else _NOTHING
        rows.append([f"{SYSTEMS[system].title}: {row}", *_spread(spread), said])
    table = study.config.table
    views = (
        f"{table.views_per_epoch} of {table.n_views} cached copies of each original an epoch"
        if table.mode == "cached"
        else f"{table.views_per_epoch} copies of each original, drawn anew in every epoch"
    )
    return f"""## Table 1: augmentation

{_table(["original and copies", "mean", "range", "sd", "best epoch", "runs", "paper"], rows)}

Rate {table.learning_rate:g}, {table.epochs} epochs, {views}. A zoom of x magnifies from \
max(1 - x, 0.5) to 1 + x: for x = 1.5 that is the paper's "0.5 to 2.5". The paper's number is its \
best run's best epoch; ours in the column beside is the mean of all runs'."""


def figure_4_section(run: PlannedRun, record: RunRecord) -> str:
    """The best run, epoch by epoch."""
    return f"""## Figure 4: the best run by epoch

![Figure 4](figure-4.png)

{SYSTEMS[run.system].title}, {run.row}, run {run.number}: {record.best_accuracy:.4f} after epoch \
{record.best_epoch}, {record.last_accuracy:.4f} after the last ({len(record.accuracy)}). It is the \
best of all runs at its best epoch on the very tiles that chose it, as in the paper; the tables \
above hold the means. The paper's best run: {paper.TABLE_1_BEST:.4f}, overfitting from epoch \
{paper.OVERFITS_FROM_EPOCH}."""


def figure_5_section(record: RunRecord) -> str:
    """The confusion matrix of the best run at its best epoch, and tumour against not."""
    ours = tumor_counts(record.best_confusion)
    table = _table(
        ["tumour against not", "here", "paper"],
        [
            ["precision", _number(ours.precision), f"{paper.TUMOR_PRECISION:.4f}"],
            ["recall", _number(ours.recall), f"{paper.TUMOR_RECALL:.4f}"],
            ["false negatives", str(ours.false_negatives), str(paper.TUMOR_FALSE_NEGATIVES)],
            ["tumour tiles tested", str(ours.n_tumor), "102, it seems"],
            ["tiles tested", str(record.n_test), "170, it seems"],
        ],
    )
    return f"""## Figure 5: its confusion matrix

![Figure 5](figure-5.png)

{table}

{paper.VALIDATION_NOTE}"""


def beyond_section(study: Study, by_kind: DoneRuns) -> str:
    """The best row of each system, by random, slide and patient split, side by side."""
    metrics = split_kind_metrics(study, by_kind)
    if not metrics:
        return ""
    rows = [
        [
            f"{SYSTEMS[system].title}: {row}",
            kind,
            f"{round(value.accuracy * value.n_tiles)} of {value.n_tiles}",
            f"{value.accuracy:.3f}",
            f"{value.accuracy_low:.3f} to {value.accuracy_high:.3f}",
            _number(value.macro_f1),
            _number(value.classes[-1].recall),
        ]
        for (system, row, kind), value in metrics.items()
    ]
    header = ["best row of Table 1", "split", "right", "accuracy", "95 %", "macro-F1"]
    cases = [
        line
        for (system, row, kind), value in metrics.items()
        if kind == "patient"
        for line in _case_rows(f"{SYSTEMS[system].title}: {row}", value)
    ]
    case_header = ["case left out", "case", "tiles", "accuracy", *(lab.name for lab in LABELS)]
    by_case = f"\n\n{_table(case_header, cases)}" if cases else ""
    return f"""## Beyond the paper: slides and patients that were not seen

{_table([*header, "viable recall"], rows)}{by_case}

All folds pooled, after the last epoch; intervals resample slides. The row was chosen by its \
random split, which these numbers judge. {paper.ELSEWHERE}"""


def method_section(study: Study) -> str:
    """What was done, in a paragraph."""
    config = study.config
    left_out = [
        SYSTEMS[name].title
        for name in ("mobilenetv2", "resnet50v2", "xception", "inceptionresnetv2")
        if name not in config.systems
    ]
    absent = f" Not run here: {', '.join(left_out)}." if left_out else ""
    return f"""## How

Frozen base, global average pooling, dense {config.head.hidden_units} (relu), softmax 3; Adam \
with default betas, categorical cross-entropy, batch {config.head.batch_size}, constant rate. Run \
r has a split of its own, the same for every system, rate and row. Study seed {config.seed}. \
Features are computed once a tile and view (`docs/study.md`). All runs stand in \
`results.csv`, one row each.{absent}"""


def _case_rows(title: str, metrics: SplitMetrics) -> list[list[str]]:
    return [
        [
            title,
            fold.name,
            str(fold.n_tiles),
            f"{fold.accuracy:.3f}",
            *(str(fold.support.get(label.id, 0)) for label in LABELS),
        ]
        for fold in metrics.folds
    ]


def _missing(done: DoneRuns, study: Study) -> str:
    finished = {run.spec.key for run, _ in done}
    parts = {run.part for run in study.figure_3 + study.table_1 if run.spec.key not in finished}
    return f"; unfinished: {', '.join(sorted(parts))}" if parts else ""


def _bases(study: Study) -> str:
    return "; ".join(
        f"{SYSTEMS[name].title}, {system.side_px} px, weights `{study.weights[name][:16]}`"
        for name, system in study.config.systems.items()
    )


def _spread(spread: Spread) -> list[str]:
    return [
        f"{spread.mean:.3f}",
        f"{spread.low:.3f} to {spread.high:.3f}",
        _number(spread.deviation),
        f"{spread.best:.3f}",
        str(spread.n_runs),
    ]


def _number(value: float | None) -> str:
    return "unavailable" if value is None else f"{value:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
