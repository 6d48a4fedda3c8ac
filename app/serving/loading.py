"""Open the classifier that the settings name: bundle, runtime, warm-up, golden tiles."""

from __future__ import annotations

from collections.abc import Callable

from app.bundle import Bundle, find_bundle, open_bundle
from app.core.errors import OsteoError
from app.inference.classifier import Classifier
from app.runtime.batching import MicroBatchingRuntime
from app.runtime.protocol import Runtime
from app.runtime.select import open_runtime
from app.settings import Settings
from app.telemetry.metrics import Metrics

RuntimeOpener = Callable[[Bundle, Settings, Metrics], Runtime]


def open_configured_runtime(bundle: Bundle, settings: Settings, metrics: Metrics) -> Runtime:
    """The runtime that the settings name; a SavedModel runtime gets micro-batches."""
    runtime = open_runtime(
        bundle,
        settings.runtime,
        settings.workers,
        precision=settings.precision,
        mixed_precision=settings.gpu_mixed_precision,
        xla=settings.gpu_xla,
    )
    if runtime.name != "savedmodel":
        return runtime
    return MicroBatchingRuntime(
        runtime,
        bundle.manifest.input.side_px,
        settings.max_batch_tiles,
        settings.max_batch_delay_ms / 1000,
        metrics.batch_tiles.observe,
    )


def open_classifier(
    settings: Settings,
    metrics: Metrics,
    opener: RuntimeOpener = open_configured_runtime,
    version: str | None = None,
) -> Classifier:
    """Open a version of the configured model, verified, warmed up and checked.

    Args:
        settings: the model and the runtime.
        metrics: counts the micro-batches.
        opener: opens the runtime of a bundle.
        version: the version to open; by default the one in the settings, else the newest.

    Raises:
        BundleError: there is no such bundle, or it failed verification.
        RuntimeUnavailableError: the runtime cannot be used here.
        InferenceError: the model returned NaN or infinity, or failed.
    """
    path = find_bundle(settings.models_dir, settings.model_name, version or settings.model_version)
    bundle = open_bundle(path)
    runtime = opener(bundle, settings, metrics)
    try:
        classifier = Classifier(bundle, runtime, settings)
        classifier.check()
    except OsteoError:
        runtime.close()
        raise
    return classifier
