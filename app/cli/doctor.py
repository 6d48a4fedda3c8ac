"""Check the installation: packages, the bundle, and whether it answers as it did at release."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from app import __version__
from app.bundle import (
    Bundle,
    find_bundle,
    open_bundle,
    read_golden_tiles,
    unchecked_parts,
)
from app.core.errors import OsteoError
from app.inference.classifier import Classifier
from app.runtime.cores import usable_cores
from app.runtime.gpus import visible_gpu_names, why_no_gpu
from app.runtime.select import Precision, RuntimeChoice, open_runtime
from app.serving.loading import configured_trust
from app.settings import Settings

_PACKAGES: Final = ("ai-edge-litert", "tensorflow", "fastapi", "uvicorn", "numpy", "pillow")
_TIMED_RUNS: Final = 15


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `is_ok` is None if the line only informs."""

    what: str
    is_ok: bool | None
    detail: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield findings one by one; a failed check does not stop the others."""
    yield Finding("osteo-tiles", None, f"{__version__}, Python {platform.python_version()}")
    for package in _PACKAGES:
        yield Finding(package, None, _installed_version(package))
    yield Finding("cores", None, f"{usable_cores()} usable")
    names = ", ".join(visible_gpu_names())
    yield Finding("GPU", None, names or f"none visible to TensorFlow: {why_no_gpu()}")
    yield Finding("models folder", None, str(settings.models_dir))
    try:
        path = find_bundle(settings.models_dir, settings.model_name, settings.model_version)
        bundle = open_bundle(path, configured_trust(settings))
        unchecked = unchecked_parts(bundle)
    except OsteoError as error:
        yield Finding("bundle", False, str(error))
        return
    n_files = len(bundle.manifest.files)
    yield Finding("bundle", True, f"{path}, {n_files} files verified")
    yield Finding("bundle SHA-256", None, bundle.sha256)
    if unchecked is not None:
        yield Finding("golden answers", None, unchecked)
    runtimes: list[tuple[RuntimeChoice, Precision]] = [("litert", "fp32")]
    if bundle.manifest.int8 is not None:
        runtimes.append(("litert", "int8"))
    if _installed_version("tensorflow") != _ABSENT:
        runtimes.append(("savedmodel", "fp32"))
    for choice, precision in runtimes:
        yield from _examine_runtime(settings, bundle, choice, precision)


_ABSENT: Final = "not installed"


def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return _ABSENT


def _examine_runtime(
    settings: Settings, bundle: Bundle, choice: RuntimeChoice, precision: Precision
) -> Iterator[Finding]:
    name = choice if precision == "fp32" else f"{choice} {precision}"
    try:
        runtime = open_runtime(bundle, choice, settings.workers, precision=precision)
        classifier = Classifier(bundle, runtime, settings)
        difference = classifier.check()
        yield Finding(
            f"{name}: golden tiles", True, f"logits within {difference:.1g} of the release"
        )
        yield Finding(f"{name}: one tile", None, _timed_tile(classifier))
        classifier.close()
    except OsteoError as error:
        yield Finding(name, False, str(error))


def _timed_tile(classifier: Classifier) -> str:
    golden = next(read_golden_tiles(classifier.bundle))
    tile_bytes = classifier.bundle.golden_files[golden.name]
    timings = [classifier.classify(tile_bytes).timing for _ in range(_TIMED_RUNS)]
    decode_s = statistics.median(timing.decode_s for timing in timings)
    inference_s = statistics.median(timing.inference_s for timing in timings)
    device = classifier.runtime.device
    return f"decode {decode_s * 1e3:.1f} ms, inference {inference_s * 1e3:.1f} ms on {device}"
