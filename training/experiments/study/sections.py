"""The sections of a study's report: Markdown generated from the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from statistics import fmean

from training.console.markdown import markdown_table
from training.console.plural import plural
from training.data.label_set import LabelSet
from training.evaluation.split_tables import number
from training.experiments.study import paper
from training.experiments.study.design import PlannedRun
from training.experiments.study.journal import FinishedRun
from training.experiments.study.results import Spread, count_leaks, tumor_counts
from training.experiments.study.study import DoneRuns, Study
from training.networks.registry import SYSTEMS
from training.networks.weights_files import describe_origin

_NOTHING = "-"
_table = partial(markdown_table, numeric=True)


def data_section(study: Study, done: DoneRuns) -> str:
    """Tiles, runs, how much the split leaks, and each system with its weights."""
    index, config = study.index, study.config
    counts = ", ".join(
        f"{index.labels.count(label.id)} {label.name}" for label in config.labels.root
    )
    slides = len({tile.slide for tile in index.tiles})
    planned = {run.spec.key for run in study.known_runs}
    finished = {run.spec.key for run, _ in done} & planned
    n_tested = done[0][1].n_test if done else 0
    return f"""# Study: {config.name}

Research use only. Every number below names its split.

- **Tiles:** {len(index.tiles)} ({counts}) of \
{plural(slides, "slide")} and {plural(study.n_cases, "case")}{_mixed(study)}. \
Index SHA-256 `{study.index_sha256}`.{_by_case(study)}
- **Runs:** {len(finished)} of {len(planned)} are finished{_missing(done, study)}.
- **The split is random and leaks.** As in the paper, each run tests a tenth of the tiles \
({n_tested}), drawn without regard to slide or patient. {_leaks(study)} With \
{plural(n_tested, "test tile")}, one tile is {1 / max(n_tested, 1):.3f} of accuracy.

{_systems(study)}"""


def figure_3_section(study: Study, cells: dict[tuple[str, int, float], Spread]) -> str:
    """The best learning rate for each system and number of epochs; the figure shows all rates."""
    rows = []
    grid, title_of = study.config.grid, paper.title_in_figure_3
    for system in dict.fromkeys(name for name, _, _ in cells):
        for epochs in sorted({epochs for name, epochs, _ in cells if name == system}):
            rate, spread = max(
                ((r, s) for (n, e, r), s in cells.items() if (n, e) == (system, epochs)),
                key=lambda item: item[1].mean,
            )
            rows.append([title_of(system), str(epochs), f"{rate:g}", *_spread(spread)])
    rows += [
        [
            paper.title_in_figure_3(name),
            str(epochs),
            _NOTHING,
            f"not run: {reason}",
            *[_NOTHING] * 4,
        ]
        for name, reason in not_run(study, grid.systems).items()
        for epochs in sorted(grid.epochs)
    ]
    (system, epochs, rate), best = max(cells.items(), key=lambda item: item[1].mean)
    prefix = (
        "Shorter runs are the beginning of the longest one, so they are not independent."
        if grid.share_prefix
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
    rows += [
        [f"{SYSTEMS[name].title}: {row.name}", f"not run: {reason}", *[_NOTHING] * 5]
        for name, reason in not_run(study, table.systems).items()
        for row in table.rows
    ]
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


def method_section(study: Study) -> str:
    """The method, in one paragraph."""
    config = study.config
    return f"""## Method

Frozen backbone, global average pooling, dense {config.head.hidden_units} (ReLU), softmax \
{len(config.labels)}; Adam with default betas, categorical cross-entropy, batch \
{config.head.batch_size}, constant rate. Each run number has its own split, the same for every \
system, rate and row. Study seed {config.seed}. \
Features are computed once for each tile and view (`docs/study.md`). `results.csv` has one row for \
each run."""


def not_run(study: Study, names: Iterable[str]) -> dict[str, str]:
    """The reasons of those systems among `names` that are not run."""
    reasons = {name: study.config.systems[name].not_run for name in names}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _by_case(study: Study) -> str:
    """Tiles of each label by case, which shows where a label stands for a case."""
    if not study.index.knows_cases:
        return ""
    cases = sorted({str(tile.case) for tile in study.index.tiles})
    counts = Counter((tile.case, tile.label) for tile in study.index.tiles)
    ids = study.config.labels.ids
    listed = "; ".join(f"{case}: {' / '.join(str(counts[case, i]) for i in ids)}" for case in cases)
    return f" By case, in the same order: {listed}."


def _mixed(study: Study) -> str:
    """How mixed tiles are counted, which only the collection has."""
    index = study.index
    return f"; mixed tiles: {index.mixed_tiles}" if index.layout == "collection" else ""


def _leaks(study: Study) -> str:
    if not study.index.knows_corners:
        return "Overlapping tiles cannot be counted, because their places are unknown."
    leaks = "; ".join(
        f"{fmean(pairs):.0f} at a footprint of {footprint}"
        for footprint, pairs in count_leaks(study).items()
    )
    return (
        "Mean number of overlapping pairs of tiles with one tile on each side of a split: "
        f"{leaks} (the scale of the names' coordinates is not documented)."
    )


def _systems(study: Study) -> str:
    """One row for each system: side, weights with origin and licence, or why it is not run."""
    rows = []
    for name, system in study.config.systems.items():
        origin = (
            f"not run: {system.not_run}"
            if system.not_run
            else describe_origin(system.weights, SYSTEMS[name], study.weights[name])
        )
        sha256 = _NOTHING if system.not_run else f"`{study.weights[name][:16]}`"
        rows.append([SYSTEMS[name].title, f"{system.side_px} px", sha256, origin])
    table = markdown_table(["system", "side", "weights", "origin and licence of the weights"], rows)
    return f"""{table}

A file of weights is named by the first 16 digits of its SHA-256."""


def _missing(done: DoneRuns, study: Study) -> str:
    finished = {run.spec.key for run, _ in done}
    parts = {run.part for run in study.known_runs if run.spec.key not in finished}
    return f"; unfinished: {', '.join(sorted(parts))}" if parts else ""


def _spread(spread: Spread) -> list[str]:
    return [
        f"{spread.mean:.3f}",
        f"{spread.low:.3f} to {spread.high:.3f}",
        number(spread.deviation),
        f"{spread.best:.3f}",
        str(spread.n_runs),
    ]
