"""TensorFlow SavedModel: the runtime of choice on a GPU, and the reference everywhere."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InferenceError, RuntimeUnavailableError
from app.runtime.cores import usable_cores
from app.runtime.protocol import ModelOutputs

_SIGNATURE: Final = "serving_default"
_GPU_DEVICE_NODES: Final = ("nvidia[0-9]*", "dxg", "kfd")  # CUDA, CUDA under WSL, ROCm


def visible_gpu_names() -> tuple[str, ...]:
    """Names of the GPUs TensorFlow sees; empty where there is none or no TensorFlow.

    Importing TensorFlow costs seconds, so where no device node shows a GPU it is not asked.
    """
    has_device_node = any(any(Path("/dev").glob(name)) for name in _GPU_DEVICE_NODES)
    if find_spec("tensorflow") is None or not has_device_node:
        return ()
    tensorflow = _import_tensorflow()
    names = []
    for device in tensorflow.config.list_physical_devices("GPU"):
        details = tensorflow.config.experimental.get_device_details(device)
        names.append(str(details.get("device_name", device.name)))
    return tuple(names)


class SavedModelRuntime:
    """One loaded SavedModel; TensorFlow runs concurrent calls."""

    name: Final = "savedmodel"
    computes_in_caller: Final = False
    n_warm_ups: Final = 1

    def __init__(
        self, model_dir: Path, *, mixed_precision: bool = False, xla: bool = False
    ) -> None:
        """Load the graph on the first GPU TensorFlow sees, else on the CPU.

        Args:
            model_dir: the bundle's `saved_model/`.
            mixed_precision: let TensorFlow compute in half precision where a GPU gains by it.
            xla: compile with XLA; a gain on a GPU, a tenfold loss on a CPU.

        Raises:
            RuntimeUnavailableError: TensorFlow is not installed, or the directory is no SavedModel
                with the expected signature.
        """
        tensorflow = _import_tensorflow()
        gpus = tensorflow.config.list_physical_devices("GPU")
        # One batch at a time keeps a GPU busy. A CPU is used best by one batch a core, each on one
        # thread: TensorFlow's own threads wait for each other at every small operation.
        self.n_workers = 1 if gpus else usable_cores()
        if not gpus:
            with suppress(RuntimeError):  # set already, when a second version is loaded
                tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        self.precision = "mixed" if mixed_precision else "fp32"
        # A GPU's TF32 would round inputs to 10 bits behind everybody's back.
        tensorflow.config.experimental.enable_tensor_float_32_execution(mixed_precision)
        try:
            for gpu in gpus:
                # Without growth TensorFlow takes the whole GPU from everybody else at once.
                tensorflow.config.experimental.set_memory_growth(gpu, True)
            if mixed_precision:
                tensorflow.config.optimizer.set_experimental_options({"auto_mixed_precision": True})
            loaded = tensorflow.saved_model.load(str(model_dir))
            signature = loaded.signatures[_SIGNATURE]
            if xla:
                signature = tensorflow.function(signature, jit_compile=True)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise RuntimeUnavailableError(self.name, f"{model_dir.name}: {error}") from error
        self.device = visible_gpu_names()[0] if gpus else "cpu"
        self._to_tensor: Any = tensorflow.convert_to_tensor
        self._op_error: type[Exception] = tensorflow.errors.OpError
        self._loaded = loaded  # the signature holds its variables weakly
        self._signature = signature

    def infer(
        self,
        tiles: NDArray[np.uint8],
        *,
        alone: bool = False,  # noqa: ARG002 - TensorFlow fixes its threads at the start
    ) -> ModelOutputs:
        """See `Runtime.infer`."""
        try:
            answer = self._signature(tiles=self._to_tensor(tiles))
        except self._op_error as error:
            raise InferenceError("TensorFlow failed to run the graph.") from error
        return ModelOutputs(
            logits=answer["logits"].numpy(),
            embedding=answer["embedding"].numpy(),
            cam=answer["cam"].numpy(),
        )

    def close(self) -> None:
        """Drop the graph; TensorFlow keeps the device memory it has grown to."""
        del self._signature, self._loaded


def _import_tensorflow() -> Any:
    # Its start-up chatter goes to standard error past every logger; real errors are raised anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow
    except ImportError as error:
        raise RuntimeUnavailableError(
            SavedModelRuntime.name, "install TensorFlow (pip install 'osteo-tiles[gpu]')"
        ) from error
    return tensorflow
