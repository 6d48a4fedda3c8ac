"""Tables of the commands stay readable on 80 columns."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from rich.console import Console

from app.core.manifest import SplitKind
from tests.bundles import LABELS
from tests.training.evaluation.runs import run_of
from training.commands import output
from training.commands.systems import systems
from training.evaluation.metrics import evaluate
from training.networks.registry import SYSTEMS
from training.networks.table_systems import TABLE_SYSTEMS

Printed = Callable[[Callable[[], None]], str]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Printed:
    """Run a function with a terminal of 80 columns, and return what it prints."""

    def run(print_something: Callable[[], None]) -> str:
        console = Console(width=80, force_terminal=False)
        monkeypatch.setattr(output, "OUT", console)
        monkeypatch.setattr("training.commands.systems.OUT", console)
        with console.capture() as captured:
            print_something()
        text = captured.get()
        assert max(len(line) for line in text.splitlines()) <= 80
        assert "…" not in text
        return text

    return run


def test_print_split_kinds_shows_every_number_whole(printed: Printed) -> None:
    pairs = [(0, 0), (0, 1), (1, 1), (1, 1), (2, 2), (2, 0)] * 200
    kinds: tuple[SplitKind, ...] = ("random", "slide", "patient")
    metrics = [evaluate(run_of(pairs, kind)) for kind in kinds]
    text = printed(lambda: output.print_split_kinds(metrics, LABELS, ["A note."]))
    for words in (
        *("800 / 1200 ", "1 fold ", "66.7 %", "balanced accuracy", "tumour precision", "macro F1"),
        *("random", "slide", "patient"),
    ):
        assert words in text, text
    assert len(re.findall(r"\d+\.\d to \d+\.\d %", text)) == 3 + 1  # and the left-out case
    assert text.count("200 / 400") == 2  # recalls in the left-out case


def test_print_split_kinds_shows_what_was_not_measured(printed: Printed) -> None:
    metrics = [evaluate(run_of([(0, 0), (1, 1)], "slide"))]
    text = printed(lambda: output.print_split_kinds(metrics, LABELS, ["A note."]))
    assert text.count("not measured") == 2 * 8


@pytest.mark.parametrize("n_columns", [2, 5, 9, 15])
def test_print_rows_cuts_no_cell_however_many_columns_there_are(
    printed: Printed, n_columns: int
) -> None:
    header = [f"a long header {i}" for i in range(n_columns)]
    rows = [[f"cell-{i}-of-row-{j}" for i in range(n_columns)] for j in range(2)]
    total = [f"sum-{i}" for i in range(n_columns)]
    text = printed(lambda: output.print_rows(header, rows, total))
    for cell in (*rows[0], *rows[1], *total):
        assert cell in text


def test_print_rows_shows_markup_as_it_is(printed: Printed) -> None:
    assert "[red]" in printed(lambda: output.print_rows(["[bold]"], [["[red]x[/red]"]]))


def test_systems_are_listed_whole(printed: Printed) -> None:
    text = printed(systems)
    assert all(f" {name} " in text for name in (*SYSTEMS, *TABLE_SYSTEMS))
