"""Errors in training's input; each is printed as one sentence, without a traceback.

TrainingError
├── ConfigError          a configuration file is wrong at `key`
├── DataError            the folder or the table of the tiles cannot be used
│   ├── FetchError           a server does not provide the collection, or not all of it
│   └── TileProblemsError    tiles break a rule in strict mode; `problems` lists them
├── SplitError           a split cannot be made, or a file is not one
├── WeightsError         the weights are missing or belong to another network
├── CacheError           the feature cache cannot be written, or belongs to another network
├── ClusterError         the cluster is described wrongly, or lost a worker
├── GanError             a generator cannot be fitted, read or resumed
│   └── LeakError            synthetic tiles would leak test tiles into training
└── RunError             a run directory is incomplete
"""

from __future__ import annotations

from collections.abc import Sequence

from app.core.errors import TrainingError

_SHOWN_PROBLEMS = 10


class ConfigError(TrainingError):
    """A configuration is wrong; `key` is the dotted name of the entry, empty for the whole file."""

    def __init__(self, path: str, key: str, reason: str) -> None:
        self.path, self.key = path, key
        super().__init__(f"{path}: {key}: {reason}" if key else f"{path}: {reason}")


class DataError(TrainingError):
    """The folder or the table of the tiles cannot be used."""


class FetchError(DataError):
    """A server does not provide what the collection holds, or not all of it."""


class TileProblemsError(DataError):
    """Tiles break rules, and strict mode does not skip such tiles."""

    def __init__(self, problems: Sequence[object], advice: str = "") -> None:
        self.problems = tuple(problems)
        shown = [f"  {problem}" for problem in self.problems[:_SHOWN_PROBLEMS]]
        if len(self.problems) > _SHOWN_PROBLEMS:
            shown.append(f"  and {len(self.problems) - _SHOWN_PROBLEMS} more")
        found = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        hint = "(--skip leaves such tiles out and reports them):"
        super().__init__(
            "\n".join([f"{found} with the tiles {hint}", *shown, *filter(None, [advice])])
        )


class SplitError(TrainingError):
    """A split cannot be made from this index, or a file holds no split of it."""


class WeightsError(TrainingError):
    """The backbone's weights are missing or belong to another network."""


class CacheError(TrainingError):
    """The feature cache cannot be written, or holds the features of another network."""


class GanError(TrainingError):
    """A generator cannot be fitted, read or resumed."""


class LeakError(GanError):
    """Synthetic tiles would leak test tiles into training, or would be tested themselves."""


class RunError(TrainingError):
    """A run directory lacks something that a command needs."""


class ClusterError(TrainingError):
    """The description of a cluster is missing or wrong, or a worker was lost."""
