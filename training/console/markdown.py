"""Markdown for cards and reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], numeric: bool = False
) -> str:
    """A table without a final line break; `numeric` aligns all columns but the first right."""
    rule = ["---", *(["---:" if numeric else "---"] * (len(header) - 1))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
