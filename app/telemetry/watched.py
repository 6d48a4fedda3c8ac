"""Metrics whose value is read on every scrape, from the object that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class _Watched(Collector):
    """Has no sample while there is no value: a zero would read as one.

    Attributes:
        read: returns the value; None if there is none.
    """

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self.read: Callable[[], float | None] = lambda: None


class WatchedGauge(_Watched):
    """A value that goes up and down."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read it."""
        yield GaugeMetricFamily(self._name, self._documentation, value=self.read())


class WatchedCounter(_Watched):
    """A value that only grows."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read it."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.read())


class WatchedLabels(Collector):
    """A gauge with one sample, whose labels change with its value.

    Attributes:
        read: returns the labels' values and the value; None if there is no sample.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        """Name the labels."""
        self._name, self._documentation, self._labels = name, documentation, labels
        self.read: Callable[[], tuple[Sequence[str], float] | None] = lambda: None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read it."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
        found = self.read()
        if found is not None:
            family.add_metric(*found)
        yield family
