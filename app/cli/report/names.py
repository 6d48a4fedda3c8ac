"""What a report calls its tiles and folder: by their names, or by numbers that identify nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.names import shown
from app.cli.paths import common_folder, name_below


@dataclass(frozen=True, slots=True)
class Names:
    """Names on the page.

    Attributes:
        common: the folder that contains all tiles; names are relative to it.
        are_hidden: whether numbers replace them: the row numbers of the CSV.
    """

    common: Path | None
    are_hidden: bool

    @property
    def heading(self) -> str:
        """The heading of the page; it has the name of the folder, not of those above it."""
        if self.are_hidden or self.common is None or not self.common.name:
            return "Tiles"
        return f"Tiles of {shown(Path(self.common.name))}"

    def tile(self, path: Path, number: int) -> str:
        """The name of the file in row `number` of the CSV, counted from 1."""
        return f"Tile {number}" if self.are_hidden else shown(name_below(self.common, path))

    def error(self, path: Path, error: str) -> str:
        """The error of a file; where names are hidden, without the target of a dead link."""
        if not self.are_hidden:
            return error
        try:
            target = path.readlink()
        except OSError:
            return error
        return error.replace(shown(target), "its target")


def names_of(named: Sequence[Path], are_hidden: bool) -> Names:
    """Names for the files and folders that the command was given."""
    return Names(common_folder(named), are_hidden)
