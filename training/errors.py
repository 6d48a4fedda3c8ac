"""What can be wrong with training's input. All are `TrainingError`s: one sentence, no traceback.

TrainingError
├── ConfigError          a configuration file, naming the `key` that is wrong
├── DataError            the collection's folder or table
│   ├── FetchError           a server that does not give what the collection holds
│   └── TileProblemsError    tiles that break a rule, in strict mode; `problems` lists them
├── SplitError           a split that cannot be made, or a file that is not one
├── WeightsError         the weights are missing or belong to another network
├── CacheError           the cache of features cannot be written, or belongs to another network
├── ClusterError         what should train together is described wrongly
├── GanError             a generator that cannot be made, read or gone on with
│   └── LeakError            synthetic tiles that would carry test tiles into training
└── RunError             a run directory is incomplete
"""

from __future__ import annotations

from collections.abc import Sequence

from app.core.errors import TrainingError

_SHOWN_PROBLEMS = 10


class ConfigError(TrainingError):
    """A configuration is wrong; `key` is its dotted name, empty for the file as a whole."""

    def __init__(self, path: str, key: str, reason: str) -> None:
        self.path, self.key = path, key
        super().__init__(f"{path}: {key}: {reason}" if key else f"{path}: {reason}")


class DataError(TrainingError):
    """The folder or the table of the collection cannot be used."""


class FetchError(DataError):
    """A server does not give what the collection holds, or not all of it."""


class TileProblemsError(DataError):
    """Tiles break rules, and strict mode does not skip them."""

    def __init__(self, problems: Sequence[object]) -> None:
        self.problems = tuple(problems)
        shown = [f"  {problem}" for problem in self.problems[:_SHOWN_PROBLEMS]]
        if len(self.problems) > _SHOWN_PROBLEMS:
            shown.append(f"  and {len(self.problems) - _SHOWN_PROBLEMS} more")
        super().__init__(
            "\n".join(
                [
                    f"{len(self.problems)} problem(s) with the tiles "
                    "(--skip leaves such tiles out and reports them):",
                    *shown,
                ]
            )
        )


class SplitError(TrainingError):
    """A split cannot be made from this index, or a file holds no split of it."""


class WeightsError(TrainingError):
    """The base network's weights are missing or belong to another network."""


class CacheError(TrainingError):
    """The cache of features cannot be written, or does not hold what it should."""


class GanError(TrainingError):
    """A generator cannot be fitted, read or gone on with."""


class LeakError(GanError):
    """Synthetic tiles would carry what is tested into training, or be tested themselves."""


class RunError(TrainingError):
    """A run directory lacks something that a later command needs."""


class ClusterError(TrainingError):
    """The machines that should train together are not described, or wrongly."""
