"""Measure the time of one tile with and without assessment and evidence map.

    .venv/bin/python -m benchmarks.trust
    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.trust --write-docs

It runs in this process, on one thread, without HTTP. The bundle is copied and gets an assessment
record with as many random reference tiles as the whole collection has. The time does not depend on
their values, and nothing but time is measured.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

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
from app.core.manifest import MANIFEST_NAME, FileEntry, sha256_of_file, write_manifest
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles
from app.core.tile import decode_tile_and_header
from app.inference.classifier import Classifier
from app.inference.explanation import PREDICTED
from app.runtime.litert import LiteRtRuntime
from app.settings import read_settings
from benchmarks.machine import describe_host
from benchmarks.publish import Benchmark, Results
from benchmarks.tables import render_table
from benchmarks.tiles import TILES_HELP, collect_tiles

BENCHMARK: Final = Benchmark("trust", "benchmarks.md", __doc__)
GOAL_PERCENT: Final = 10.0
BASE: Final = "decode, LiteRT, calibrate, SHA-256"
ASSESSED: Final = "full answer with assessment"
EXPLAINED: Final = "full answer with evidence map"
DRAWN: Final = "full answer with overlay of 512 px"
_N_REFERENCES: Final = 1144
_N_WARM_UPS: Final = 10

Work = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """Median time of one tile, and median difference from the baseline on the same tile."""

    what: str
    median_ms: float
    added_ms: float

    def added_percent(self, base_ms: float) -> float:
        """Added time in percent of the baseline's median."""
        return 100 * self.added_ms / base_ms


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.add_argument("--repeats", type=int, default=600, help="timed tiles of each kind (600)")
    parser.add_argument("--tiles", type=Path, help=TILES_HELP)
    return BENCHMARK.run(parser.parse_args(arguments), _measure, render_costs)


def compare(works: Mapping[str, Work], uploads: Sequence[bytes], n_repeats: int) -> list[Cost]:
    """Time several kinds of work in turn on the same tiles.

    Args:
        works: functions of an encoded tile, by name; the first is the baseline.
        uploads: encoded tiles, used in rotation.
        n_repeats: timed runs of each kind of work.

    Returns:
        The cost of each kind, in the order of `works`.
    """
    names = list(works)
    times_s: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(-_N_WARM_UPS, n_repeats):
        # In rotating order, so that none always benefits from the caches of another.
        start = repeat % len(names)
        for name in names[start:] + names[:start]:
            started = time.perf_counter()
            works[name](uploads[repeat % len(uploads)])
            if repeat >= 0:
                times_s[name].append(time.perf_counter() - started)
    baseline = times_s[names[0]]
    return [
        Cost(
            name,
            1e3 * statistics.median(times),
            1e3 * statistics.median(t - b for t, b in zip(times, baseline, strict=True)),
        )
        for name, times in times_s.items()
    ]


def render_costs(results: Results) -> str:
    """Render the table and the conditions of the measurement as Markdown."""
    # Named here, because older results files have other names.
    names = (BASE, ASSESSED, EXPLAINED, DRAWN)
    costs = [
        Cost(**cost | {"what": name}) for name, cost in zip(names, results["costs"], strict=True)
    ]
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
    # Other work slows the baseline more than the additions, so their share looks too small.
    if machine["load_at_start"] > machine["cores"]:
        verdict = "not decided, because the machine was busy"
    return (
        f"{table}\n\nGoal: assessment and evidence map add at most {GOAL_PERCENT:g} %: {verdict}. "
        f"Measured {machine['date']} on {machine['cores']} cores ({machine['cpu']}, load "
        f"{machine['load_at_start']} at start), {results['n_repeats']} tiles of each kind in "
        f"turn ({results['tiles']}), {results['n_references']} reference tiles."
    )


def _measure(options: argparse.Namespace) -> Results:
    machine = describe_host()
    settings = read_settings()
    title, files = collect_tiles(options.tiles)
    uploads = [file.read_bytes() for file in files]
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
            result = classifier.classify(tile_bytes, explain=PREDICTED)
            if result.explanation is None or result.explanation.grid is None:
                return None
            return classifier.draw(tile_bytes, result, "overlay", 512, 0.6)

        works: dict[str, Work] = {
            BASE: answer_only,
            ASSESSED: classifier.classify,
            EXPLAINED: lambda tile_bytes: classifier.classify(tile_bytes, explain=PREDICTED),
            DRAWN: draw,
        }
        costs = compare(works, uploads, options.repeats)
        classifier.close()
    return {
        "machine": machine,
        "tiles": title,
        "n_repeats": options.repeats,
        "n_references": _N_REFERENCES,
        "costs": [asdict(cost) for cost in costs],
    }


def _with_record(bundle: Bundle, scratch: Path) -> Bundle:
    """Copy a bundle and give it an assessment record with `_N_REFERENCES` reference tiles."""
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
        # Accepts every tile, because only accepted tiles are explained.
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
