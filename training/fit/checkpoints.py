"""A phase of training as arrays: its weights, its optimizer, its chance, how far it has come.

What is restored goes on as if it had not been stopped: the same batches in the same order, from the
same weights, moments, running average and random numbers, in the middle of an epoch too.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.console.progress import ERRORS
from training.fit.history import Course, EpochRecord
from training.fit.weight_averaging import RunningAverage
from training.runs.resume import Work


class Checkpoint:
    """One file of kept work, and the parts of a phase that it holds."""

    def __init__(
        self,
        work: Work,
        name: str,
        variables: list[Any],
        average: RunningAverage,
        rng: np.random.Generator,
    ) -> None:
        """Nothing is read yet.

        Args:
            work: where the file is.
            name: of the phase.
            variables: of the graph and the optimizer, dropout's random numbers among them.
            average: of the weights.
            rng: what draws order, views and mixtures.
        """
        self._work, self._file = work, f"{name}.npz"
        self._variables, self._average, self._rng = variables, average, rng

    def restore(self) -> Course:
        """Bring all parts to where they were; where nothing is kept they stay as they are.

        A damaged file is no file: the phase begins anew, and ends with the same weights.
        """
        content = self._work.read(self._file)
        if content is None:
            return Course()
        try:
            variables, averages, written, course = self._parse(content)
        except (EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
            ERRORS.print(f"A kept {self._file} is damaged: that phase begins anew.")
            return Course()
        for variable, value in zip(self._variables, variables, strict=True):
            variable.assign(value)
        self._average.restore(written["n_averaged"], averages)
        self._rng.bit_generator.state = written["rng"]
        return course

    def _parse(
        self, content: bytes
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]], dict[str, Any], Course]:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays}
        variables = [found[name] for name in self._names()]
        if [value.shape for value in variables] != [tuple(v.shape) for v in self._variables]:
            raise ValueError("other shapes")
        averages = [found[name] for name in sorted(found) if name.startswith("average_")]
        written = json.loads(found["written"].tobytes())
        records = [EpochRecord(**record) for record in written["records"]]
        hits = found["hits"].tolist()
        return (
            variables,
            averages,
            written,
            Course(records, found.get("pairs"), found["losses"].tolist(), hits),
        )

    def keep_if_due(self, course: Course) -> None:
        """Called after each step; writes now and then."""
        if self._work.is_due:
            self.keep(course)

    def keep(self, course: Course) -> None:
        """Write where everything stands.

        Raises:
            RunError: the disk is full or cannot be written.
        """
        arrays = dict(self._arrays(course))
        self._work.write(self._file, lambda out: np.savez(out, **arrays))  # type: ignore[arg-type]

    def _names(self) -> Iterator[str]:
        return (f"variable_{i:04}" for i in range(len(self._variables)))

    def _arrays(self, course: Course) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, variable in zip(self._names(), self._variables, strict=True):
            yield name, np.asarray(variable.numpy())
        for i, value in enumerate(self._average.values):
            yield f"average_{i:04}", value
        if course.pairs is not None:
            yield "pairs", course.pairs
        yield "losses", np.array(course.losses, np.float64)
        yield "hits", np.array(course.hits, np.bool_)
        written = {
            "records": [record.as_dict() for record in course.records],
            "n_averaged": self._average.n_steps,
            "rng": self._rng.bit_generator.state,
        }
        yield "written", np.frombuffer(json.dumps(written).encode(), np.uint8)
