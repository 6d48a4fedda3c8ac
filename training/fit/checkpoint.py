"""A phase of training as arrays: weights, optimizer, random numbers and progress.

A restored phase continues as if it had not been stopped, even within an epoch: with the same
batches in the same order, from the same weights, moments, running average and random numbers.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.console.progress import ERRORS
from training.fit.checkpoint_dir import CheckpointDir
from training.fit.history import EpochRecord, PhaseProgress
from training.fit.weight_averaging import RunningAverage


class Checkpoint:
    """The checkpoint file of a phase, and the parts of the phase that it stores."""

    def __init__(
        self,
        directory: CheckpointDir,
        name: str,
        variables: list[Any],
        average: RunningAverage,
        rng: np.random.Generator,
    ) -> None:
        """Nothing is read yet.

        Args:
            directory: contains the file.
            name: name of the phase.
            variables: graph and optimizer, including dropout's random state.
            average: running average of the weights.
            rng: draws views and their order.
        """
        self._directory, self._file = directory, f"{name}.npz"
        self._variables, self._average, self._rng = variables, average, rng

    def restore(self) -> PhaseProgress:
        """Restore all parts; without a checkpoint nothing changes.

        A damaged file is ignored; the phase then starts again and ends with the same weights.
        """
        content = self._directory.read(self._file)
        if content is None:
            return PhaseProgress()
        try:
            variables, averages, written, progress = self._parse(content)
        except (EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
            ERRORS.print(f"The checkpoint {self._file} is damaged, so that phase starts again.")
            return PhaseProgress()
        for variable, value in zip(self._variables, variables, strict=True):
            variable.assign(value)
        self._average.restore(written["n_averaged"], averages)
        self._rng.bit_generator.state = written["rng"]
        return progress

    def _parse(
        self, content: bytes
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]], dict[str, Any], PhaseProgress]:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays}
        variables = [found[name] for name in self._names()]
        if [value.shape for value in variables] != [tuple(v.shape) for v in self._variables]:
            raise ValueError("the variables have other shapes")
        averages = [found[name] for name in sorted(found) if name.startswith("average_")]
        written = json.loads(found["written"].tobytes())
        records = [EpochRecord(**record) for record in written["records"]]
        hits = found["hits"].tolist()
        return (
            variables,
            averages,
            written,
            PhaseProgress(records, found.get("pairs"), found["losses"].tolist(), hits),
        )

    def save_if_due(self, progress: PhaseProgress) -> None:
        """Save if the latest checkpoint is old enough; call this after each step."""
        if self._directory.is_due:
            self.save(progress)

    def save(self, progress: PhaseProgress) -> None:
        """Write all parts.

        Raises:
            RunError: the disk is full or cannot be written.
        """
        arrays = dict(self._arrays(progress))
        self._directory.write(self._file, lambda out: np.savez(out, **arrays))  # type: ignore[arg-type]  # the stub takes bool too

    def _names(self) -> Iterator[str]:
        return (f"variable_{i:04}" for i in range(len(self._variables)))

    def _arrays(self, progress: PhaseProgress) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, variable in zip(self._names(), self._variables, strict=True):
            yield name, np.asarray(variable.numpy())
        for i, value in enumerate(self._average.values):
            yield f"average_{i:04}", value
        if progress.pairs is not None:
            yield "pairs", progress.pairs
        yield "losses", np.array(progress.losses, np.float64)
        yield "hits", np.array(progress.hits, np.bool_)
        written = {
            "records": [asdict(record) for record in progress.records],
            "n_averaged": self._average.n_steps,
            "rng": self._rng.bit_generator.state,
        }
        yield "written", np.frombuffer(json.dumps(written).encode(), np.uint8)
