"""The running average of the weights (Polyak & Juditsky 1992), with which a phase may end."""

from __future__ import annotations

from typing import Any

from training.networks.graphs import Weights


class RunningAverage:
    """Exponential average of weights, started at the first step instead of the random weights.

    Attributes:
        n_steps: number of steps averaged.
        values: the average; empty before the first step, or if the momentum is 0.
    """

    def __init__(self, variables: list[Any], momentum: float) -> None:
        self._variables = variables
        self._momentum = momentum
        self.n_steps = 0
        self.values: Weights = []

    def update(self) -> None:
        """Add the weights after a step."""
        if self._momentum == 0.0:
            return
        self.n_steps += 1
        # Otherwise the average of a short run would mostly consist of its first steps.
        keep = min(self._momentum, self.n_steps / (self.n_steps + 9))
        now = [variable.numpy() for variable in self._variables]
        if not self.values:
            self.values = now
        self.values = [keep * a + (1 - keep) * b for a, b in zip(self.values, now, strict=True)]

    def restore(self, n_steps: int, values: Weights) -> None:
        """Continue from the average of earlier steps."""
        self.n_steps, self.values = n_steps, values

    def assign(self) -> None:
        """Set the graph's weights to the average."""
        for variable, value in zip(self._variables, self.values, strict=False):
            variable.assign(value)
