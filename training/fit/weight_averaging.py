"""The running average of the weights (Polyak & Juditsky 1992), which a phase may end with."""

from __future__ import annotations

from typing import Any

from training.networks.graphs import Weights


class RunningAverage:
    """Exponential average of weights, started at the first step rather than at random weights.

    Attributes:
        n_steps: steps so far.
        values: the average; empty before the first step, or where nothing is averaged.
    """

    def __init__(self, variables: list[Any], momentum: float) -> None:
        self._variables = variables
        self._momentum = momentum
        self.n_steps = 0
        self.values: Weights = []

    def update(self) -> None:
        """A step is done."""
        if self._momentum == 0.0:
            return
        self.n_steps += 1
        # Short runs would otherwise remember mostly where they began.
        keep = min(self._momentum, self.n_steps / (self.n_steps + 9))
        now = [variable.numpy() for variable in self._variables]
        if not self.values:
            self.values = now
        self.values = [keep * a + (1 - keep) * b for a, b in zip(self.values, now, strict=True)]

    def restore(self, n_steps: int, values: Weights) -> None:
        """Stand where it stood after so many steps."""
        self.n_steps, self.values = n_steps, values

    def assign(self) -> None:
        """Put the average into the graph."""
        for variable, value in zip(self._variables, self.values, strict=False):
            variable.assign(value)
