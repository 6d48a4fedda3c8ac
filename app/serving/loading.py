"""Open the classifier that the settings name: bundle, runtime, warm-up, golden tiles."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from app.bundle import Bundle, Trust, find_bundle, open_bundle, unchecked_parts
from app.core.errors import InferenceError
from app.core.signature import PublicKey
from app.inference.classifier import Classifier
from app.runtime.batching import MicroBatchingRuntime
from app.runtime.gpus import has_tensorflow, why_no_gpu
from app.runtime.protocol import Runtime
from app.runtime.select import open_runtime
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

_logger = logging.getLogger(LOGGER_NAME)

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
    if settings.precision == "fp32" and settings.runtime != "litert":
        _report_missing_gpu(runtime)
    if runtime.name != "savedmodel":
        return runtime
    return MicroBatchingRuntime(
        runtime,
        bundle.manifest.input.side_px,
        settings.max_batch_tiles,
        settings.max_batch_delay_ms / 1000,
        metrics.batch_tiles.observe,
    )


def _report_missing_gpu(runtime: Runtime) -> None:
    """Log why the CPU computes, if TensorFlow is installed, which is of use on a GPU only."""
    if runtime.device != "cpu" or not has_tensorflow():
        return
    # A site that asks for the SavedModel wants a GPU; `auto` is the default, with a GPU or without.
    used, level = "TensorFlow", logging.WARNING
    if runtime.name == "litert":
        used, level = "LiteRT", logging.INFO
    reason = f"No GPU is visible to TensorFlow: {why_no_gpu()}. Using {used} on the CPU."
    _logger.log(level, "gpu_not_used", extra={"reason": reason})


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
        BundleError: there is no such bundle, it is not trusted, or it failed verification.
        RuntimeUnavailableError: the runtime cannot be used here.
        InferenceError: the model returned NaN or infinity, failed, or has other outputs than the
            manifest says.
    """
    path = find_bundle(settings.models_dir, settings.model_name, version or settings.model_version)
    bundle = open_bundle(path, configured_trust(settings))
    runtime = opener(bundle, settings, metrics)
    try:
        classifier = Classifier(bundle, runtime, settings)
        classifier.check()
        _require_output_shapes(bundle, runtime)
    except BaseException:
        runtime.close()
        raise
    unchecked = unchecked_parts(bundle)
    if unchecked is not None:
        _logger.info("golden_tiles_incomplete", extra={"reason": unchecked})
    return classifier


def configured_trust(settings: Settings) -> Trust:
    """Which bundles the settings accept."""
    key = settings.bundle_public_key
    return Trust(settings.bundle_sha256, PublicKey.parse(key) if key else None)


def _require_output_shapes(bundle: Bundle, runtime: Runtime) -> None:
    """Compare the outputs with the manifest, whose sizes the assessment relies on."""
    manifest = bundle.manifest
    side_px, n_labels = manifest.input.side_px, len(manifest.labels)
    outputs = runtime.infer(np.zeros((1, side_px, side_px, 3), np.uint8))
    found = (outputs.logits.shape, outputs.embedding.shape, outputs.cam.shape)
    expected = ((1, n_labels), (1, manifest.embedding_size), (1, *manifest.cam_shape, n_labels))
    if found != expected:
        raise InferenceError(
            f"The model's logits, embedding and maps have the shapes {found}, but the manifest "
            f"says {expected}."
        )
