"""LiteRT (XNNPACK) on the CPU: the fastest way to run this model without a GPU.

Each worker runs single tiles on a single-threaded interpreter of its own. On two cores this gives
twice the throughput of one interpreter with two threads, and batches only make it slower. A
further interpreter with several threads serves a tile that is alone in the service, because the
other cores are idle then.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InferenceError, RuntimeUnavailableError
from app.runtime.native_output import native_output_dropped
from app.runtime.protocol import ModelOutputs

_SIGNATURE: Final = "serving_default"
MAX_THREADS_ALONE: Final = 4
"""More threads do not help, because the network's layers are too small."""


class LiteRtRuntime:
    """A pool of single-threaded interpreters that share the bytes of one model."""

    name: Final = "litert"
    device: Final = "cpu"
    computes_in_caller: Final = True

    def __init__(
        self, model: Path | bytes, n_workers: int, precision: str = "fp32", n_threads_alone: int = 1
    ) -> None:
        """Open the interpreters.

        Args:
            model: the bundle's `model.tflite` or `model-int8.tflite`, or its verified content. A
                file is read once and never mapped: a process that maps a file which is then
                truncated dies of SIGBUS.
            n_workers: number of interpreters, and so of `infer` calls that run at the same time.
            precision: `fp32` or `int8`, whichever the file has.
            n_threads_alone: threads for a tile that is alone, of which at most
                `MAX_THREADS_ALONE` are used; 1 treats such a tile like any other.

        Raises:
            RuntimeUnavailableError: LiteRT is not installed, or cannot run the file.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise RuntimeUnavailableError(
                self.name, "ai-edge-litert is not installed; run `pip install ai-edge-litert`."
            ) from error
        self.n_workers = n_workers
        self.precision = precision
        self.n_warm_ups = n_workers  # a first-in, first-out queue, so each runs once
        self._idle: _Runners = queue.SimpleQueue()
        self._idle_alone: _Runners = queue.SimpleQueue()

        content = model if isinstance(model, bytes) else model.read_bytes()

        def open_runner(n_threads: int) -> _TileRunner:
            # An interpreter does not copy the content, but keeps a reference to it.
            return _TileRunner(Interpreter(model_content=content, num_threads=n_threads))

        try:
            with native_output_dropped():
                for _ in range(n_workers):
                    self._idle.put(open_runner(1))
                if n_threads_alone > 1:
                    self._idle_alone.put(open_runner(min(n_threads_alone, MAX_THREADS_ALONE)))
        except (ValueError, RuntimeError) as error:
            raise RuntimeUnavailableError(
                self.name, f"it cannot load the model: {error}"
            ) from error

    def infer(self, tiles: NDArray[np.uint8], *, alone: bool = False) -> ModelOutputs:
        """See `Runtime.infer`; runs one tile at a time."""
        with self._borrowed_runner(alone) as run:
            try:
                answers = [run(tile) for tile in tiles]
            except (RuntimeError, ValueError) as error:
                raise InferenceError("LiteRT failed to run the model.") from error
        return ModelOutputs(
            logits=np.concatenate([answer["logits"] for answer in answers]),
            embedding=np.concatenate([answer["embedding"] for answer in answers]),
            cam=np.concatenate([answer["cam"] for answer in answers]),
        )

    def close(self) -> None:
        """Drop the interpreters and so free their memory."""
        for idle in (self._idle, self._idle_alone):
            while not idle.empty():
                idle.get_nowait()

    @contextmanager
    def _borrowed_runner(self, alone: bool) -> Iterator[_TileRunner]:
        runner, pool = self._take_runner(alone)
        try:
            yield runner
        finally:
            pool.put(runner)

    def _take_runner(self, alone: bool) -> tuple[_TileRunner, _Runners]:
        if alone:
            # There is at most one, and the previous tile that was alone may still be using it.
            with suppress(queue.Empty):
                return self._idle_alone.get_nowait(), self._idle_alone
        return self._idle.get(), self._idle


class _TileRunner:
    """One interpreter with its tensor indices looked up once."""

    def __init__(self, interpreter: Any) -> None:
        interpreter.allocate_tensors()
        # The signature names the outputs; their order is up to the converter.
        runner = interpreter.get_signature_runner(_SIGNATURE)
        (input_detail,) = runner.get_input_details().values()
        self._interpreter = interpreter
        self._input_index: int = input_detail["index"]
        self._output_indices: dict[str, int] = {
            name: detail["index"] for name, detail in runner.get_output_details().items()
        }

    def __call__(self, tile: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        self._interpreter.set_tensor(self._input_index, tile[np.newaxis])
        self._interpreter.invoke()
        # get_tensor copies, so the arrays stay valid after the next invoke.
        return {
            name: self._interpreter.get_tensor(index)
            for name, index in self._output_indices.items()
        }


_Runners = queue.SimpleQueue[_TileRunner]
