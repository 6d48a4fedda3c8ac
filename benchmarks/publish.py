"""The frame of a benchmark command: measure, store the results, and publish the report."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.errors import OsteoError
from benchmarks.environments import REPOSITORY

Results = dict[str, Any]
"""The content of a results file, from which its report can be rendered again."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A command `python -m benchmarks.NAME` with its section in a page of `docs/`."""

    name: str
    page_name: str
    description: str | None

    @property
    def results_file(self) -> Path:
        """Default results file."""
        return REPOSITORY / "benchmarks" / "results" / f"{self.name}.json"

    @property
    def page(self) -> Path:
        """Page that `--write-docs` updates."""
        return REPOSITORY / "docs" / self.page_name

    def parser(self) -> argparse.ArgumentParser:
        """Build a parser with the options of all benchmarks."""
        parser = argparse.ArgumentParser(
            prog=f"python -m benchmarks.{self.name}",
            description=(self.description or "").splitlines()[0],
        )
        self.add_options(parser)
        return parser

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of all benchmarks to a parser."""
        default = self.results_file.relative_to(REPOSITORY)
        parser.add_argument(
            "--output", type=Path, default=self.results_file, help=f"results file ({default})"
        )
        parser.add_argument(
            "--write-docs", action="store_true", help=f"update docs/{self.page_name}"
        )

    def run(
        self,
        options: argparse.Namespace,
        measure: Callable[[argparse.Namespace], Results],
        render: Callable[[Results], str],
    ) -> int:
        """Measure, write the results, print the report and return the exit code."""
        try:
            results = measure(options)
        except (OsteoError, OSError, RuntimeError) as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")
        report = render(results)
        print(report)
        if options.write_docs:
            self.write_section(report)
        return 0

    def write_section(self, text: str) -> None:
        """Replace the benchmark's section of its page."""
        self.page.write_text(replace_section(self.page.read_text(), self.name, text))


def replace_section(page: str, name: str, text: str) -> str:
    """Replace the text between the markers `<!-- NAME:begin -->` and `<!-- NAME:end -->`.

    Prose wraps at 100 columns; tables, pictures and lists stay as they are.

    Raises:
        ValueError: the page lacks a marker.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, begin_found, rest = page.partition(begin)
    _, end_found, tail = rest.partition(end)
    if not begin_found or not end_found:
        raise ValueError(f"the page needs the markers {begin} and {end}")
    lines = [
        line
        if line.startswith(("|", "!", "-"))
        else textwrap.fill(line, 100, break_on_hyphens=False)
        for line in text.strip().splitlines()
    ]
    return "\n".join([f"{head}{begin}", *lines, f"{end}{tail}"])
