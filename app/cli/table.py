"""Print outcomes for people: one line per tile that fits the terminal, then a summary."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from app.cli.files import FileOutcome
from app.cli.names import one_line, shorten_left, shorten_right
from app.core.errors import counted
from app.core.manifest import Label
from app.inference.results import RESEARCH_USE, ModelIdentity, TileResult

_GAP: Final = "  "
_PROBABILITY_WIDTH: Final = len("0.98")
_MAX_LABEL_WIDTH: Final = 16
_MIN_REVIEW_WIDTH: Final = len("ambiguous +1")
_MIN_NAME_WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """Widths of the columns, in terminal columns.

    Attributes:
        name: of the names of tiles, which are cut on the left.
        label: of the predicted label.
        n_probabilities: one for each label; or 1, that of the predicted label, if the terminal is
            too narrow.
        review: of the reasons for review, which are cut on the right.
    """

    name: int
    label: int
    n_probabilities: int
    review: int


def layout_of(width: int, longest_name: int, labels: Sequence[Label]) -> Layout:
    """Divide the width of a terminal among the columns."""
    label = min(_MAX_LABEL_WIDTH, max(cell_len(label_name(label)) for label in labels))
    n_probabilities = len(labels)
    step = 1 + _PROBABILITY_WIDTH
    left = width - label - 3 * len(_GAP) - n_probabilities * step + 1
    if left < _MIN_NAME_WIDTH + _MIN_REVIEW_WIDTH:
        left += (n_probabilities - 1) * step
        n_probabilities = 1
    name = max(len("tile"), min(longest_name, left - _MIN_REVIEW_WIDTH))
    return Layout(name, label, n_probabilities, max(left - name, 0))


def label_name(label: Label) -> str:
    """The name that people read."""
    return label.name or label.id


def short_labels(labels: Sequence[Label]) -> list[str]:
    """Headers of the probabilities: initials such as NVT, else first letters, else numbers."""
    words = [re.findall(r"\w+", label_name(label)) for label in labels]
    initials = ["".join(word[0].upper() for word in name) for name in words]
    starts = [label_name(label)[:_PROBABILITY_WIDTH] for label in labels]
    numbers = [str(number) for number in range(1, len(labels) + 1)]
    fits = (
        short
        for short in (initials, starts, numbers)
        if len(set(short)) == len(short)
        and all(0 < cell_len(name) <= _PROBABILITY_WIDTH for name in short)
    )
    return next(fits, numbers)


class TablePrinter:
    """Prints rows as they come, because a folder may take hours, and counts for the summary."""

    def __init__(self, labels: Sequence[Label], names: Iterable[str]) -> None:
        """Choose the widths.

        Args:
            labels: of the manifest.
            names: of all files that will be printed.
        """
        self._console = Console(highlight=False)
        self._encoding = self._console.encoding
        self._labels = labels
        self._names = {label.id: label_name(label) for label in labels}
        self._short_labels = short_labels(labels)
        longest = max(cell_len(one_line(name, self._encoding)) for name in names)
        self._layout = layout_of(self._console.width, longest, labels)
        self._predictions = Counter[str]()
        self._reasons = Counter[str]()
        self._errors = Counter[str]()
        self._n_for_review = 0

    def print_rows(self, rows: Iterable[tuple[str, FileOutcome]]) -> None:
        """Print a header, and a row for each name and outcome."""
        headers = self._short_labels if self._layout.n_probabilities > 1 else ["p"]
        self._print_line("tile", "prediction", headers, Text("review"), "bold")
        for name, outcome in rows:
            if outcome.result is None:
                self._print_error(name, str(outcome.error))
            else:
                self._print_result(name, outcome.result)

    def print_summary(self, model: ModelIdentity) -> None:
        """Print tiles by label, how many need a look and why, what failed, and the model."""
        n_tiles = self._predictions.total()
        by_label = ", ".join(
            f"{self._predictions[label.id]} {label_name(label)} ({short})"
            for label, short in zip(self._labels, self._short_labels, strict=True)
        )
        self._console.print()
        self._print_text(f"{counted(n_tiles, 'tile')}: {by_label}.")
        if self._n_for_review:
            verb = "needs" if self._n_for_review == 1 else "need"
            why = f"{_tally(self._reasons)}. docs/trust.md explains the reasons."
            self._print_text(f"{self._n_for_review} {verb} a look: {why}", "yellow")
        else:
            self._print_text("None needs a look.")
        for error, number in self._errors.most_common():
            self._print_text(f"{number} not classified: {error}", "red")
        version = f"{model.name} version {model.version}, bundle {model.bundle_sha256[:12]}"
        self._print_text(f"Model: {version}.")
        self._print_text(RESEARCH_USE)

    def _print_result(self, name: str, result: TileResult) -> None:
        self._predictions[result.prediction] += 1
        self._n_for_review += result.review.required
        self._reasons.update(result.review.reasons)
        if self._layout.n_probabilities > 1:
            shown = [result.probabilities[label.id] for label in self._labels]
        else:
            shown = [result.probabilities[result.prediction]]
        label = self._names[result.prediction]
        review = Text(self._fitting_reasons(result.review.reasons), "yellow")
        self._print_line(name, label, [f"{value:.2f}" for value in shown], review)

    def _print_error(self, name: str, error: str) -> None:
        self._errors[error] += 1
        room = self._console.width - self._layout.name - len(_GAP)
        text = shorten_right(one_line(error, self._encoding), room, self._encoding)
        self._print_row(Text.assemble(self._name_cell(name), _GAP, (text, "red")))

    def _print_line(
        self, name: str, label: str, values: Sequence[str], review: Text, style: str = ""
    ) -> None:
        shown = one_line(label, self._encoding)
        shown = shorten_right(shown, self._layout.label, self._encoding)
        probabilities = " ".join(f"{value:>{_PROBABILITY_WIDTH}}" for value in values)
        cells = (self._name_cell(name), _padded(shown, self._layout.label), probabilities)
        self._print_row(Text.assemble(_GAP.join(cells), _GAP, review), style)

    def _fitting_reasons(self, reasons: Sequence[str]) -> str:
        """All reasons if they fit, else as many as do and the number of the others."""
        room = self._layout.review
        for n_shown in range(len(reasons), 0, -1):
            others = f" +{len(reasons) - n_shown}" if n_shown < len(reasons) else ""
            text = ", ".join(reasons[:n_shown]) + others
            if len(text) <= room:
                return text
        if not reasons:
            return ""
        others = f" +{len(reasons) - 1}" if len(reasons) > 1 else ""
        return shorten_right(reasons[0], room - len(others), self._encoding) + others

    def _print_row(self, row: Text, style: str = "") -> None:
        row.rstrip()
        row.truncate(self._console.width)
        self._console.print(row, style=style, soft_wrap=True)

    def _print_text(self, sentence: str, style: str = "") -> None:
        self._console.print(Text(one_line(sentence, self._encoding), style))

    def _name_cell(self, name: str) -> str:
        shown = one_line(name, self._encoding)
        return _padded(shorten_left(shown, self._layout.name, self._encoding), self._layout.name)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _tally(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common())
