"""The sections of a study's report on random, slide and patient splits, side by side."""

from __future__ import annotations

from functools import partial

from app.core.manifest import SplitMetrics
from training.console.markdown import markdown_table
from training.data.label_set import LabelSet
from training.evaluation.published import PUBLISHED
from training.evaluation.split_tables import number
from training.experiments.study.design import SplitSpec
from training.experiments.study.results import split_kind_metrics
from training.experiments.study.sections import not_run
from training.experiments.study.study import DoneRuns, Study
from training.networks.registry import SYSTEMS

_NOTHING = "-"
_table = partial(markdown_table, numeric=True)
_Metrics = dict[tuple[str, str, str], SplitMetrics]


def comparison_section(study: Study, done: DoneRuns) -> str:
    """Every system without augmentation on each kind of split; empty if none is compared."""
    metrics = split_kind_metrics(study, done)
    reasons = not_run(study, study.config.levels.systems)
    if not metrics:
        return ""
    rows = _split_rows(metrics, with_row=False) + [
        [SYSTEMS[name].title, kind, f"not run: {reason}", *[_NOTHING] * 4]
        for name, reason in reasons.items()
        for kind in study.config.levels.kinds
    ]
    table = study.config.table
    return f"""## Comparison of systems

{_table(["system", *_header(study)], rows)}{_by_case(study, metrics, with_row=False)}

The same head on each frozen backbone, no augmentation, rate {table.learning_rate:g}, \
{table.epochs} epochs. Each tile is tested once: all folds are pooled, after the last epoch, and \
nothing is chosen on the test tiles. Intervals resample slides.{_impossible(study)}"""


def beyond_section(study: Study, done: DoneRuns) -> str:
    """The best row of each system on each kind of split; empty before they are finished."""
    metrics = split_kind_metrics(study, done)
    if not metrics:
        return ""
    header = ["best row of Table 1", *_header(study)]
    return f"""## Beyond the paper: unseen slides and patients

{_table(header, _split_rows(metrics))}{_by_case(study, metrics)}

All folds are pooled, after the last epoch; intervals resample slides. The row was chosen by its \
accuracy on random splits, so the random split here is optimistic.{_impossible(study)} \
{PUBLISHED}"""


def _header(study: Study) -> list[str]:
    last = study.config.labels.names[-1]
    return ["split", "correct", "accuracy", "95 % interval", "macro F1", f"{last} recall"]


def _split_rows(metrics: _Metrics, with_row: bool = True) -> list[list[str]]:
    return [
        [
            _title(system, row, with_row),
            kind,
            f"{round(value.accuracy * value.n_tiles)} of {value.n_tiles}",
            f"{value.accuracy:.3f}",
            f"{value.accuracy_low:.3f} to {value.accuracy_high:.3f}",
            # The mean over some of the labels would look like the mean over all of them.
            number(value.macro_f1 if all(entry.support for entry in value.classes) else None),
            number(value.classes[-1].recall),
        ]
        for (system, row, kind), value in metrics.items()
    ]


def _by_case(study: Study, metrics: _Metrics, with_row: bool = True) -> str:
    """A table of the patient split, case by case; empty if there was none."""
    rows = [
        line
        for (system, row, kind), value in metrics.items()
        if kind == "patient"
        for line in _case_rows(_title(system, row, with_row), value, study.config.labels)
    ]
    first = "best row of Table 1" if with_row else "system"
    header = [first, "case left out", "tiles", "accuracy", *study.config.labels.names]
    return f"\n\n{_table(header, rows)}" if rows else ""


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


def _impossible(study: Study) -> str:
    """A sentence for each fold that cannot be fitted, because its training tiles are all alike."""
    sentences = []
    for kind, n_folds in study.config.levels.n_folds(study.n_cases).items():
        for fold in range(n_folds):
            spec = SplitSpec(kind=kind, n_folds=n_folds, seed=study.config.seed, fold=fold)
            label = study.lone_label(spec)
            if label is not None:
                name = study.split(kind, n_folds, study.config.seed).folds[fold].name
                sentences.append(
                    f" The {kind} split does not test {name}: all other tiles are {label}, so "
                    "there is nothing to tell apart."
                )
    return "".join(sentences)


def _title(system: str, row: str, with_row: bool) -> str:
    title = SYSTEMS[system].title
    return f"{title}: {row}" if with_row else title
