"""The files and folders that a command is given, and what is said about them before work begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.cli.endings import EXIT_USAGE, STDERR, fail, say
from app.cli.names import shown
from app.cli.search import Search, find_tiles


def named_paths(arguments: Sequence[str]) -> list[Path]:
    """The arguments as paths; an empty one ends the command.

    `Path("")` would be the current folder, which a script with an unset variable does not mean.
    """
    if "" in arguments:
        fail("An empty path was given; is a variable unset? A dot names this folder.", EXIT_USAGE)
    if "-" in arguments:
        fail("Standard input is not read; name files or folders.", EXIT_USAGE)
    return [Path(argument) for argument in arguments]


def search_named(named: list[Path], leave_out: Path | None = None) -> Search:
    """Find tiles and say what was skipped; end the command if there is nothing to try."""
    with STDERR.status("Searching"):
        search = find_tiles(named, leave_out)
    skipped = search.skipped.sentence()
    if skipped is not None:
        say(skipped)
    names = ", ".join(map(shown, named))
    if not search.found:
        fail(f"No tiles (JPEG, PNG, TIFF, WebP) in {names}.", EXIT_USAGE)
    if all(found.is_missing for found in search.found):
        fail(f"No such file or folder: {names}.", EXIT_USAGE)
    return search


def counted_files(number: int, search: Search) -> str:
    """Such as "1 of 3 files"; folders count if they could not be searched."""
    total = len(search.found)
    noun = "file" if total == 1 else "files"
    if any(found.error is not None for found in search.found):
        noun = "file or folder" if total == 1 else "files and folders"
    return f"{number} of {total} {noun}"
