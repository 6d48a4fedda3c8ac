"""Where a report is written, and how: all three files, or none of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.cli.endings import EXIT_USAGE, fail
from app.cli.names import shown
from app.cli.paths import exists, identities_of, is_file, is_folder
from app.cli.pictures import require_access
from app.cli.search import Found

_SUFFIXES: Final = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class Target:
    """The page, and the tables beside it under the same name.

    Attributes:
        page: path of the page.
        csv: path of the CSV.
        json: path of the JSON.
    """

    page: Path
    csv: Path
    json: Path

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """The page comes last, so that it is there only if its tables are."""
        return self.csv, self.json, self.page

    @contextmanager
    def staged(self) -> Iterator[Target]:
        """Paths in a hidden folder beside the page; at the end their files replace the old ones.

        An error or Ctrl-C leaves the old files as they were, and no new ones.

        Raises:
            OSError: the folder cannot be created, or the files cannot be moved.
        """
        parent = self.page.parent
        with tempfile.TemporaryDirectory(prefix=".osteo-report-", dir=parent) as folder:
            drafts = Target(*(Path(folder) / name for name in ("page", "csv", "json")))
            yield drafts
            for draft, path in zip(drafts.paths, self.paths, strict=True):
                draft.replace(path)


def choose_target(output: str) -> Target:
    """Decide from the name of the page where all files go; end the command if they cannot."""
    if not output:
        fail("An empty output path was given; is a variable unset?", EXIT_USAGE)
    named = Path(output)
    if named.suffix.lower() not in _SUFFIXES:
        fail(f"{shown(named)} is no name of a page; it must end in .html.", EXIT_USAGE)
    try:
        page = named.resolve()  # a linked page is replaced where it is, and the link stays
    except (OSError, RuntimeError) as error:
        fail(f"{shown(named)} cannot be written: {error}.", EXIT_USAGE)
    target = Target(page, page.with_suffix(".csv"), page.with_suffix(".json"))
    if not is_folder(page.parent):
        fail(f"{shown(named)} cannot be written: no folder {shown(page.parent)}.", EXIT_USAGE)
    require_access(named, page.parent)
    for path in target.paths:
        if (exists(path) and not is_file(path)) or path.is_symlink():
            fail(f"{shown(path)} is no regular file; choose another output.", EXIT_USAGE)
    _require_no_foreign_table(named, target)
    return target


def require_no_tile_replaced(target: Target, found: Sequence[Found]) -> None:
    """End the command if the report would replace a file that it is about."""
    written = {path: identities_of([path]) for path in target.paths}
    tiles = identities_of(file.path for file in found)
    for path, identity in written.items():
        if identity & tiles:
            fail(f"{shown(path)} is one of the tiles; choose another output.", EXIT_USAGE)


def _require_no_foreign_table(named: Path, target: Target) -> None:
    """Refuse to replace a table, such as somebody's labels, that is not part of a report."""
    if exists(target.page):
        return
    for path in (target.csv, target.json):
        if exists(path):
            fail(
                f"{shown(path)} exists, and {shown(named)} does not: it may be no report. Choose "
                "another output.",
                EXIT_USAGE,
            )
