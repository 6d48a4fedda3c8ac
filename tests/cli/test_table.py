from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from app.cli import table
from app.cli.classify import review_order
from app.cli.files import FileOutcome
from app.cli.table import TablePrinter, short_labels
from app.core.manifest import Label
from app.core.review import ReviewReason
from tests.answers import MODEL, failure, outcome
from tests.bundles import LABELS

ALL_REASONS = tuple(ReviewReason)
AMBIGUOUS, BLURRED = ReviewReason.AMBIGUOUS, ReviewReason.BLURRED
OUTCOMES = [
    outcome("Training-Set-1/set1/Case-48-P5-C14-54171-23668.jpg", 0.02, 0.01, 0.97),
    outcome("切片" * 60 + ".jpg", 0.2, 0.7, 0.1, reasons=(AMBIGUOUS,)),
    outcome("\x1b[31mred\n[bold]\t.png", 1.0, 0.0, 0.0, reasons=(AMBIGUOUS, BLURRED)),
    outcome("1.jpg", 0.5, 0.3, 0.2, reasons=ALL_REASONS),
    failure(
        "bad.jpg", "The content is not an image in a supported format (JPEG, PNG, TIFF, WEBP)."
    ),
    failure("locked", "The folder cannot be searched: Permission denied."),
]


def labels_named(*names: str) -> tuple[Label, ...]:
    return tuple(Label(id=f"l{i}", name=name, is_tumor=False) for i, name in enumerate(names))


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed, at the width that `COLUMNS` says."""
    stream = io.StringIO()
    monkeypatch.setattr(table, "Console", lambda **options: Console(file=stream, **options))
    return stream


def print_all(outcomes: list[FileOutcome]) -> None:
    printer = TablePrinter(LABELS, [str(one.path) for one in outcomes])
    printer.print_rows((str(one.path), one) for one in outcomes)
    printer.print_summary(MODEL)


def rows_of(text: str) -> list[str]:
    """The header and the lines before the empty line above the summary."""
    return text.split("\n\n", maxsplit=1)[0].splitlines()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
def test_table_prints_one_line_per_tile_within_the_width(
    printed: io.StringIO, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_all(OUTCOMES)
    rows = rows_of(printed.getvalue())
    assert len(rows) == 1 + len(OUTCOMES)
    assert max(cell_len(line) for line in printed.getvalue().splitlines()) <= width
    assert "\x1b" not in printed.getvalue()


def test_table_of_80_columns_shows_everything_that_matters(
    printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_all(OUTCOMES)
    assert printed.getvalue() == (
        "tile                              prediction          NT  NVT   VT  review\n"
        "…/Case-48-P5-C14-54171-23668.jpg  Viable Tumor      0.02 0.01 0.97\n"
        "…片切片切片切片切片切片切片.jpg   Non-Viable Tumor  0.20 0.70 0.10  ambiguous\n"
        "\\x1b[31mred\\n[bold]\\t.png         Non-Tumor         1.00 0.00 0.00  ambiguous +1\n"
        "1.jpg                             Non-Tumor         0.50 0.30 0.20  low_prob… +8\n"
        "bad.jpg                           The content is not an image in a supported fo…\n"
        "locked                            The folder cannot be searched: Permission den…\n"
        "\n"
        "4 tiles: 2 Non-Tumor (NT), 1 Non-Viable Tumor (NVT), 1 Viable Tumor (VT).\n"
        "3 need a look: 3 ambiguous, 2 blurred, 1 low_probability, 1 blank, 1 not_tissue,\n"
        "1 out_of_distribution, 1 not_square, 1 too_small, 1 damaged. docs/trust.md \n"
        "explains the reasons.\n"
        "1 not classified: The content is not an image in a supported format (JPEG, PNG, \n"
        "TIFF, WEBP).\n"
        "1 not classified: The folder cannot be searched: Permission denied.\n"
        "Model: osteo-mobilenetv2 version 4, bundle 596a74b911c0.\n"
        "Research use only. Not a medical device; not for diagnosis or treatment.\n"
    )


def test_table_gives_long_names_the_room_of_a_wide_terminal(
    printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    print_all(OUTCOMES[:1] + OUTCOMES[3:])
    text = printed.getvalue()
    assert "Training-Set-1/set1/Case-48-P5-C14-54171-23668.jpg" in text
    assert "low_probability, ambiguous +7" in text


def test_summary_says_if_no_tile_needs_a_look(printed: io.StringIO) -> None:
    print_all(OUTCOMES[:1])
    assert "1 tile: 0 Non-Tumor (NT), 0 Non-Viable Tumor (NVT), 1 Viable" in printed.getvalue()
    assert "None needs a look." in printed.getvalue()
    assert "not classified" not in printed.getvalue()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Non-Tumor", "Non-Viable Tumor", "Viable Tumor"), ["NT", "NVT", "VT"]),
        (("Benign", "Blank"), ["Beni", "Blan"]),
        (("Tumour one", "Tumour only"), ["1", "2"]),
        (("", "-"), ["l0", "-"]),
    ],
)
def test_short_labels_are_unique(names: tuple[str, ...], expected: list[str]) -> None:
    assert short_labels(labels_named(*names)) == expected


def test_review_order_puts_tiles_to_look_at_first() -> None:
    ordered = [
        outcome("certain, but blurred", 0.99, 0.01, 0.0, reasons=(BLURRED,)),
        outcome("least certain", 0.4, 0.3, 0.3, reasons=(AMBIGUOUS,)),
        outcome("less certain", 0.8, 0.1, 0.1, reasons=(AMBIGUOUS,)),
        outcome("equal", 0.1, 0.8, 0.1, reasons=(AMBIGUOUS,)),
        outcome("good, less certain", 0.9, 0.05, 0.05),
        outcome("good", 0.99, 0.01, 0.0),
        failure("no answer", "It is damaged."),
        failure("no answer either", "It is damaged."),
    ]
    mixed = [ordered[i] for i in (6, 5, 2, 7, 0, 4, 3, 1)]
    assert sorted(mixed, key=review_order) == ordered
