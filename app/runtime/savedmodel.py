"""TensorFlow SavedModel: the best runtime on a GPU, and the reference for the others."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InferenceError, RuntimeUnavailableError
from app.runtime.cores import usable_cores
from app.runtime.gpus import import_tensorflow, visible_gpu_names
from app.runtime.protocol import ModelOutputs

_SIGNATURE: Final = "serving_default"


class SavedModelRuntime:
    """One loaded SavedModel; TensorFlow runs concurrent calls."""

    name: Final = "savedmodel"
    computes_in_caller: Final = False
    n_warm_ups: Final = 1

    def __init__(
        self, model_dir: Path, *, mixed_precision: bool = False, xla: bool = False
    ) -> None:
        """Load the graph on the first GPU that TensorFlow sees, else on the CPU.

        Args:
            model_dir: the bundle's `saved_model/`.
            mixed_precision: let TensorFlow compute in half precision where it is faster on a GPU.
            xla: compile with XLA: faster on a GPU, ten times slower on a CPU.

        Raises:
            RuntimeUnavailableError: TensorFlow is not installed, or the directory is not a
                SavedModel with the expected signature.
        """
        tensorflow = import_tensorflow()
        gpus = tensorflow.config.list_physical_devices("GPU")
        # On a GPU, one batch at a time is more than the service can fill. A CPU is fastest with one
        # batch per core, each on one thread: threads that share a batch wait for each other at
        # every small operation.
        self.n_workers = 1 if gpus else usable_cores()
        if not gpus:
            with suppress(RuntimeError):  # already set if this is a second version
                tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        self.precision = "mixed" if mixed_precision else "fp32"
        # By default a GPU rounds inputs to 10 bits of mantissa (TF32), which fp32 must not do.
        tensorflow.config.experimental.enable_tensor_float_32_execution(mixed_precision)
        try:
            for gpu in gpus:
                # Otherwise TensorFlow reserves all of the GPU's memory.
                tensorflow.config.experimental.set_memory_growth(gpu, True)
            if mixed_precision:
                tensorflow.config.optimizer.set_experimental_options({"auto_mixed_precision": True})
            loaded = tensorflow.saved_model.load(str(model_dir))
            signature = loaded.signatures[_SIGNATURE]
            if xla:
                signature = tensorflow.function(signature, jit_compile=True)
        except (OSError, KeyError, ValueError, RuntimeError, tensorflow.errors.OpError) as error:
            reason = str(error).replace(str(model_dir), model_dir.name)
            raise RuntimeUnavailableError(
                self.name, f"it cannot load {model_dir.name}: {reason}"
            ) from error
        self.device = visible_gpu_names()[0] if gpus else "cpu"
        self._to_tensor: Any = tensorflow.convert_to_tensor
        self._op_error: type[Exception] = tensorflow.errors.OpError
        self._loaded = loaded  # the signature has only weak references to its variables
        self._signature = signature

    def infer(
        self,
        tiles: NDArray[np.uint8],
        *,
        alone: bool = False,  # noqa: ARG002 - TensorFlow fixes its number of threads at start
    ) -> ModelOutputs:
        """See `Runtime.infer`."""
        try:
            answer = self._signature(tiles=self._to_tensor(tiles))
        except self._op_error as error:
            raise InferenceError("TensorFlow failed to run the model.") from error
        return ModelOutputs(
            logits=answer["logits"].numpy(),
            embedding=answer["embedding"].numpy(),
            cam=answer["cam"].numpy(),
        )

    def close(self) -> None:
        """Drop the graph; TensorFlow does not return device memory."""
        del self._signature, self._loaded
