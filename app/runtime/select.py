"""Choose and open the runtime of a bundle."""

from __future__ import annotations

from typing import Literal

from app.bundle import Bundle
from app.runtime.cores import usable_cores
from app.runtime.litert import LiteRtRuntime
from app.runtime.protocol import Runtime
from app.runtime.savedmodel import SavedModelRuntime, visible_gpu_names

RuntimeChoice = Literal["auto", "litert", "savedmodel"]


def open_runtime(
    bundle: Bundle, choice: RuntimeChoice = "auto", n_workers: int | None = None
) -> Runtime:
    """Open a bundle with the runtime asked for.

    Args:
        bundle: an opened bundle.
        choice: `auto` takes the SavedModel where TensorFlow sees a GPU, else LiteRT.
        n_workers: LiteRT interpreters; by default one for each core this process may use.

    Raises:
        RuntimeUnavailableError: the runtime is not installed or cannot read the model.
    """
    if choice == "savedmodel" or (choice == "auto" and visible_gpu_names()):
        return SavedModelRuntime(bundle.saved_model_dir)
    return LiteRtRuntime(bundle.litert_file, n_workers or usable_cores())
