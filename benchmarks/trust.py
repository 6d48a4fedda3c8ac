"""What knowing one's limits costs: one tile with and without assessment and evidence map.

    python -m benchmarks.trust
    OSTEO_DATA_DIR=/data/tcia python -m benchmarks.trust --write-docs

In this process, on one thread, without HTTP. A bundle without an assessment record gets one in a
temporary copy, with as many random reference tiles as the whole collection has: only time is
measured here, and time does not depend on what the numbers are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.bundle import Bundle, find_bundle, open_bundle
from app.core.assessment_record import (
    AssessmentRecord,
    Conformal,
    DriftReference,
    Histogram,
    InputGate,
)
from app.core.calibration import probabilities_from_logits
from app.core.errors import OsteoError
from app.core.manifest import MANIFEST_NAME, FileEntry, sha256_of_file, write_manifest
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles
from app.core.tile import decode_tile_and_header
from app.inference.classifier import Classifier
from app.inference.explanation import PREDICTED
from app.runtime.litert import LiteRtRuntime
from app.settings import read_settings
from benchmarks.environments import REPOSITORY
from benchmarks.machine import describe_host
from benchmarks.report import replace_between_markers
from benchmarks.tables import render_table
from benchmarks.tiles import collect_tiles

RESULTS_FILE: Final = REPOSITORY / "benchmarks" / "results" / "trust.json"
DOCS_PAGE: Final = REPOSITORY / "docs" / "benchmarks.md"
GOAL_PERCENT: Final = 10.0
BASE: Final = "decode, LiteRT, calibrate, SHA-256"
ASSESSED: Final = "the answer: all that, assessed"
EXPLAINED: Final = "the answer with its evidence map"
DRAWN: Final = "an overlay of 512 px beside the answer"
_N_REFERENCES: Final = 1144
_N_WARM_UPS: Final = 10

Work = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """The median time of one tile, and the median of what it adds to the base's, tile by tile."""

    what: str
    median_ms: float
    added_ms: float

    def added_percent(self, base_ms: float) -> float:
        """Of the base's median."""
        return 100 * self.added_ms / base_ms


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trust", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--repeats", type=int, default=600, help="tiles of each kind (600)")
    parser.add_argument("--tiles", type=Path, help="folder of tiles [OSTEO_DATA_DIR, else drawn]")
    parser.add_argument("--output", type=Path, default=RESULTS_FILE, help="results file")
    parser.add_argument("--write-docs", action="store_true", help="renew docs/benchmarks.md")
    options = parser.parse_args(arguments)
    try:
        results = _measure(options.repeats, options.tiles)
    except (OsteoError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    report = render_costs(results)
    print(report)
    if options.write_docs:
        DOCS_PAGE.write_text(replace_between_markers(DOCS_PAGE.read_text(), report, "trust"))
    return 0


def compare(works: Mapping[str, Work], tiles: Sequence[bytes], n_repeats: int) -> list[Cost]:
    """Time each kind of work on the same tiles in turn.

    Args:
        works: by name; the first is the base.
        tiles: encoded; taken in turn.
        n_repeats: timed runs of each kind of work.

    Returns:
        A cost for each, in the order of `works`.
    """
    names = list(works)
    times_s: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(-_N_WARM_UPS, n_repeats):
        # The order turns, so that none always finds the caches another has filled.
        start = repeat % len(names)
        for name in names[start:] + names[:start]:
            started = time.perf_counter()
            works[name](tiles[repeat % len(tiles)])
            if repeat >= 0:
                times_s[name].append(time.perf_counter() - started)
    base = times_s[names[0]]
    return [
        Cost(
            name,
            1e3 * statistics.median(times),
            1e3 * statistics.median(t - b for t, b in zip(times, base, strict=True)),
        )
        for name, times in times_s.items()
    ]


def render_costs(results: Mapping[str, Any]) -> str:
    """The table and where it was measured, as Markdown."""
    costs = [Cost(**cost) for cost in results["costs"]]
    base_ms = costs[0].median_ms
    rows = [
        [
            cost.what,
            f"{cost.median_ms:.2f}",
            f"{cost.added_ms:+.2f}" if cost is not costs[0] else "-",
            f"{cost.added_percent(base_ms):+.1f} %" if cost is not costs[0] else "-",
        ]
        for cost in costs
    ]
    table = render_table(["one tile", "median (ms)", "added (ms)", "added"], rows)
    worst = max(c.added_percent(base_ms) for c in costs if c.what in {ASSESSED, EXPLAINED})
    verdict = "met" if worst <= GOAL_PERCENT else "not met"
    machine = results["machine"]
    # Others at work slow the base more than what is added, and the share looks smaller than it is.
    if machine["load_at_start"] > machine["cores"]:
        verdict = "not decided, since the machine was busy"
    return (
        f"{table}\n\nGoal: assessment and evidence map add at most {GOAL_PERCENT:g} %: {verdict}. "
        f"Measured {machine['date']} on {machine['cores']} cores ({machine['cpu']}, load "
        f"{machine['load_at_start']} at the start), {results['n_repeats']} tiles of each kind in "
        f"turn ({results['tiles']}), {results['n_references']} reference tiles."
    )


def _measure(n_repeats: int, folder: Path | None) -> dict[str, Any]:
    machine = describe_host()
    settings = read_settings()
    title, files = collect_tiles(folder)
    tiles = [file.read_bytes() for file in files]
    found = find_bundle(settings.models_dir, settings.model_name, settings.model_version)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = _with_record(open_bundle(found), Path(scratch))
        runtime = LiteRtRuntime(bundle.litert_file, n_workers=1)
        classifier = Classifier(bundle, runtime, settings)
        side_px, temperature = bundle.manifest.input.side_px, bundle.manifest.temperature

        def answer_only(tile_bytes: bytes) -> object:
            tile, _ = decode_tile_and_header(tile_bytes, settings.tile_limits, side_px)
            outputs = runtime.infer(tile[np.newaxis])
            sha256 = hashlib.sha256(tile_bytes).hexdigest()
            return probabilities_from_logits(outputs.logits, temperature), sha256

        def draw(tile_bytes: bytes) -> object:
            explanation = classifier.classify(tile_bytes, explain=PREDICTED).explanation
            if explanation is None or explanation.grid is None:
                return None
            return classifier.draw(tile_bytes, explanation, "overlay", 512, 0.6)

        works: dict[str, Work] = {
            BASE: answer_only,
            ASSESSED: classifier.classify,
            EXPLAINED: lambda tile_bytes: classifier.classify(tile_bytes, explain=PREDICTED),
            DRAWN: draw,
        }
        costs = compare(works, tiles, n_repeats)
        classifier.close()
    return {
        "machine": machine,
        "tiles": title,
        "n_repeats": n_repeats,
        "n_references": _N_REFERENCES,
        "costs": [
            {"what": c.what, "median_ms": c.median_ms, "added_ms": c.added_ms} for c in costs
        ],
    }


def _with_record(bundle: Bundle, scratch: Path) -> Bundle:
    """A copy of a bundle with a record and reference tiles of the size that time depends on."""
    manifest = bundle.manifest
    path = scratch / manifest.model_name / manifest.model_version
    shutil.copytree(bundle.path, path)
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(_N_REFERENCES, manifest.embedding_size))
    ReferenceTiles(embeddings).write(path / REFERENCE_NAME)
    entry = FileEntry(
        sha256=sha256_of_file(path / REFERENCE_NAME),
        n_bytes=(path / REFERENCE_NAME).stat().st_size,
    )
    record = AssessmentRecord(
        n_tiles=_N_REFERENCES,
        conformal=Conformal(split="slide", scores=tuple(np.linspace(0.01, 1.0, _N_REFERENCES))),
        # Lets every tile through: only those that pass are explained.
        gate=InputGate(
            min_tissue_share=0.0,
            min_contrast=0.0,
            min_sharpness=0.0,
            min_stain_share=0.0,
            absorption=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)),
            max_distance=2.0,
        ),
        drift=DriftReference(
            predictions={},
            probability=Histogram(edges=(), counts=(0,)),
            distance=Histogram(edges=(), counts=(0,)),
        ),
    )
    files = manifest.files | {REFERENCE_NAME: entry}
    update = {"assessment": record, "files": files}
    write_manifest(path / MANIFEST_NAME, manifest.model_copy(update=update))
    return open_bundle(path)


if __name__ == "__main__":
    sys.exit(main())
