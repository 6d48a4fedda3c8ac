"""Choose and open the runtime of a bundle."""

from __future__ import annotations

from typing import Literal

from app.bundle import Bundle
from app.core.errors import RuntimeUnavailableError
from app.core.manifest import INT8_NAME, LITERT_NAME, SAVED_MODEL_NAME
from app.runtime.cores import usable_cores
from app.runtime.gpus import visible_gpu_names
from app.runtime.litert import LiteRtRuntime
from app.runtime.protocol import Runtime
from app.runtime.savedmodel import SavedModelRuntime

RuntimeChoice = Literal["auto", "litert", "savedmodel"]
Precision = Literal["fp32", "int8"]


def open_runtime(
    bundle: Bundle,
    choice: RuntimeChoice = "auto",
    n_workers: int | None = None,
    *,
    precision: Precision = "fp32",
    mixed_precision: bool = False,
    xla: bool = False,
) -> Runtime:
    """Open a bundle with a runtime, which loads the same bytes that are verified.

    Args:
        bundle: an opened bundle.
        choice: `auto` uses the SavedModel if TensorFlow sees a GPU, else LiteRT.
        n_workers: number of LiteRT interpreters; by default the number of usable cores plus one.
        precision: `int8` needs LiteRT, and a bundle whose quantised file changed no prediction at
            release.
        mixed_precision: compute in half precision; SavedModel on a GPU only.
        xla: compile with XLA; SavedModel on a GPU only.

    Raises:
        ChecksumError: a model file is missing or is not the released one.
        RuntimeUnavailableError: the runtime is not installed, cannot load the model, or must not
            run it in this precision.
    """
    if precision == "int8":
        return _open_int8(bundle, choice, n_workers)
    if choice == "savedmodel" or (choice == "auto" and visible_gpu_names()):
        return _open_saved_model(bundle, mixed_precision, xla)
    return _open_litert(bundle.read_file(LITERT_NAME), n_workers)


def _open_saved_model(bundle: Bundle, mixed_precision: bool, xla: bool) -> SavedModelRuntime:
    """Load a verified copy: TensorFlow reads a folder, and keeps nothing of it open."""
    try:
        with bundle.verified_copy(SAVED_MODEL_NAME) as folder:
            return SavedModelRuntime(folder, mixed_precision=mixed_precision, xla=xla)
    except OSError as error:
        raise RuntimeUnavailableError(
            SavedModelRuntime.name,
            f"the model cannot be copied to the temporary folder ({error.strerror}).",
        ) from error


def _open_litert(
    content: bytes, n_workers: int | None, precision: Precision = "fp32"
) -> LiteRtRuntime:
    """Open one interpreter per core, and one that runs while another waits for Python's lock."""
    n_cores = usable_cores()
    return LiteRtRuntime(content, n_workers or n_cores + 1, precision, n_threads_alone=n_cores)


def _open_int8(bundle: Bundle, choice: RuntimeChoice, n_workers: int | None) -> Runtime:
    if choice == "savedmodel":
        raise RuntimeUnavailableError(choice, "it does not support int8; set OSTEO_RUNTIME=litert.")
    parity = bundle.manifest.int8
    if parity is None:
        raise RuntimeUnavailableError(
            "litert", "this bundle has no int8 file; set OSTEO_PRECISION=fp32."
        )
    if parity.n_flips > 0:
        raise RuntimeUnavailableError(
            "litert",
            f"int8 changed {parity.n_flips} of {parity.n_tiles} predictions at release; "
            "set OSTEO_PRECISION=fp32.",
        )
    return _open_litert(bundle.read_file(INT8_NAME), n_workers, "int8")
