"""The results of a nested choice: Markdown for people, CSV with one row an answer for programs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean

from training.console.markdown import markdown_table
from training.evaluation.nested_answers import COLUMNS, macro_f1
from training.experiments.nested.run import Answered, Choice

NESTED: str = "**the nested choice**"


def write_markdown(choices: Sequence[Choice]) -> str:
    """Results by candidate, the choices of each fold, and the recipe to release."""
    return "\n\n".join([_results(choices), _chosen(choices), _released(choices)]) + "\n"


def write_csv(choices: Sequence[Choice]) -> str:
    """One row an answer of the chosen candidate."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for choice in choices:
        if choice.chosen is None:
            continue
        for answer in choice.answers:
            row = choice.seed, choice.kind, choice.fold, answer.tile, int(answer.is_thumbnail)
            writer.writerow([*row, answer.class_index, answer.predicted[choice.chosen]])
    return text.getvalue()


def _results(choices: Sequence[Choice]) -> str:
    names = [score.name for score in choices[0].scores]
    cases = sorted({a.case for choice in choices for a in choice.answers if not a.is_thumbnail})
    n_seeds = len({choice.seed for choice in choices})
    some = [a for c in choices if c.kind == "patient" for a in c.answers]
    n_tiles = sum(not a.is_thumbnail for a in some) // n_seeds
    n_thumbnails = len(some) // n_seeds - n_tiles
    tiles_of = Counter(a.case for a in some if not a.is_thumbnail)
    header = [
        "recipe",
        f"by patient, of {n_tiles}",
        "macro F1",
        *(f"{case}, of {tiles_of[case] // n_seeds}" for case in cases),
        f"by slide, of {n_tiles}",
        f"random, of {n_tiles}",
        f"thumbnails by patient, of {n_thumbnails}",
    ]
    rows = [[NESTED, *_row(choices, None, cases)]]
    rows += [[name, *_row(choices, i, cases)] for i, name in enumerate(names)]
    return markdown_table(header, rows, numeric=True)


def _row(choices: Sequence[Choice], candidate: int | None, cases: Sequence[str]) -> list[str]:
    """Means over seeds; a candidate of None is the one that each fold chose."""
    seeds = sorted({choice.seed for choice in choices})
    patient = [_answers(choices, seed, "patient", candidate) for seed in seeds]
    tiles = [[pair for pair in answers if not pair[0].is_thumbnail] for answers in patient]
    thumbnails = [[pair for pair in answers if pair[0].is_thumbnail] for answers in patient]
    slides = [_answers(choices, seed, "slide", candidate) for seed in seeds]
    random = [_answers(choices, seed, "random", candidate) for seed in seeds]
    return [
        _mean_and_range([_n_right(answers) for answers in tiles]),
        f"{mean(_macro_f1(answers) for answers in tiles):.3f}",
        *(
            f"{mean(_n_right([p for p in answers if p[0].case == case]) for answers in tiles):.1f}"
            for case in cases
        ),
        _mean_and_range([_n_right(answers) for answers in slides]),
        _mean_and_range([_n_right(answers) for answers in random]) if any(random) else "",
        _mean_and_range([_n_right(a) for a in thumbnails]) if _answered(thumbnails) else "",
    ]


Answer = tuple[Answered, int]


def _answers(
    choices: Sequence[Choice], seed: int, kind: str, candidate: int | None
) -> list[Answer]:
    answers = []
    for choice in choices:
        position = choice.chosen if candidate is None else candidate
        if (choice.seed, choice.kind) == (seed, kind) and position is not None:
            answers += [(answer, answer.predicted[position]) for answer in choice.answers]
    return answers


def _answered(answers: Iterable[Sequence[Answer]]) -> bool:
    return any(predicted >= 0 for pairs in answers for _, predicted in pairs)


def _n_right(answers: Sequence[Answer]) -> int:
    return sum(answer.class_index == predicted for answer, predicted in answers)


def _macro_f1(answers: Sequence[Answer]) -> float:
    truth = [answer.class_index for answer, _ in answers]
    return macro_f1(truth, [predicted for _, predicted in answers])


def _mean_and_range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    span = str(low) if low == high else f"{low} to {high}"
    return f"{mean(counts):.1f} ({span})"


def _chosen(choices: Sequence[Choice]) -> str:
    header = ["left out", "chosen without it, and by how many seeds"]
    rows = []
    made = [(choice, choice.chosen) for choice in choices if choice.chosen is not None]
    for kind, fold in dict.fromkeys((choice.kind, choice.fold) for choice, _ in made):
        names = Counter(
            choice.scores[chosen].name
            for choice, chosen in made
            if (choice.kind, choice.fold) == (kind, fold)
        )
        listed = "; ".join(f"{name} ({n})" for name, n in names.most_common())
        rows.append(["nothing" if kind == "whole" else fold, listed])
    return markdown_table(header, rows)


def _released(choices: Sequence[Choice]) -> str:
    """The candidates on all tiles, best first, by the mean of the rule's scores over seeds."""
    whole = [choice for choice in choices if choice.kind == "whole"]
    header = ["on all tiles, mean over seeds", "by case", "log loss", "by slide"]
    rows = []
    for i, score in enumerate(whole[0].scores):
        of_seeds = [choice.scores[i] for choice in whole]
        values = (
            mean(one.by_case for one in of_seeds),
            mean(one.log_loss for one in of_seeds),
            mean(one.by_slide for one in of_seeds),
        )
        rows.append((score.name, *values))
    rows.sort(key=lambda row: (-row[1], row[2]))
    return markdown_table(
        header, [[row[0], *(f"{value:.3f}" for value in row[1:])] for row in rows], numeric=True
    )
