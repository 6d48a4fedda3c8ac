"""Measure what access control and the audit cost, per tile and per refused request.

    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.access --write-docs
    .venv/bin/python -m benchmarks.access --only audit --rounds 3

It starts the service in several configurations at once and loads them in turn, so that other work
on the machine affects all alike. Keys, certificates, tokens and PostgreSQL are its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.access.measuring import PARTS, measure
from benchmarks.access.report import render_access
from benchmarks.publish import Benchmark, Results
from benchmarks.tiles import TILES_HELP

BENCHMARK: Final = Benchmark("access", "benchmarks.md", __doc__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=12, help="turns of each service (12)")
    parser.add_argument("--turn-tiles", type=int, default=80, help="tiles in a turn (80)")
    parser.add_argument("--tiles", type=Path, help=TILES_HELP)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        help="measure only these parts; the results file keeps the others",
    )
    options = parser.parse_args(arguments)
    return BENCHMARK.run(options, _measure, render_access)


def _measure(options: argparse.Namespace) -> Results:
    earlier: dict[str, Any] = {}
    if options.only and options.output.is_file():
        earlier = json.loads(options.output.read_text())
    return earlier | measure(options)


if __name__ == "__main__":
    sys.exit(main())
