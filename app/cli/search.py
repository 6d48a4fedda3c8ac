"""Find the tiles in files and folders, and what stands in the way of finding them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.cli.names import shown
from app.cli.paths import Identity, exists, identities_of, identity_of
from app.cli.skipped import (
    COMPANION,
    DEAD_LINK,
    ENCLOSING_FOLDER,
    HIDDEN_FOLDER,
    SPECIAL_FILE,
    Skipped,
)

_JPEG: Final = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp")
SUFFIXES: Final = (*_JPEG, ".png", ".tif", ".tiff", ".webp")
"""Suffixes of tiles in a folder. A file that is named on the command line may have any suffix."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to classify; or a file or folder that cannot be read, and why.

    Attributes:
        location: its path as named, or below the folder that was named; text, because a `Path`
            takes five times the memory.
        error: a sentence, if it cannot be read.
        is_missing: whether it was named and does not exist.
    """

    location: str
    error: str | None = None
    is_missing: bool = False

    @property
    def path(self) -> Path:
        """The location as a path."""
        return Path(self.location)


@dataclass(slots=True)
class Search:
    """What was found, ordered as named and by path within a folder, and what was left out."""

    found: list[Found] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)


def find_tiles(named: Iterable[Path], leave_out: Path | None = None) -> Search:
    """List the named files, and the files with a suffix of a tile in the named folders.

    Each file is listed once, even if it is named twice. Linked folders are searched as well, each
    once. What cannot be read is listed with its error, and nothing but folders is opened.

    Args:
        named: files and folders.
        leave_out: a folder that is not searched, such as the one for the output.
    """
    searcher = _Searcher(leave_out)
    for path in named:
        searcher.add_named(path)
    return searcher.search


def reason_of(error: OSError) -> str:
    """The system's words, such as "Permission denied"."""
    return error.strerror or type(error).__name__


class _Searcher:
    def __init__(self, leave_out: Path | None) -> None:
        self.search = Search()
        self._folders = identities_of([leave_out] if leave_out else [])
        self._files: set[tuple[Identity, str]] = set()

    def add_named(self, path: Path) -> None:
        try:
            if stat.S_ISDIR(path.stat().st_mode):
                self._add_folder(path)
            else:
                self._add_file(identity_of(path.parent), path.name, os.fspath(path))
        except FileNotFoundError:
            is_link = path.is_symlink()
            error = _dead_link(path) if is_link else "There is no such file or folder."
            self._report(path, error, is_missing=not is_link)
        except OSError as error:
            self._report(path, f"It cannot be read: {reason_of(error)}.")

    def _add_folder(self, folder: Path) -> None:
        """Search a folder; real folders before linked ones, so that files keep their real names."""
        first = len(self.search.found)
        enclosing = identities_of(folder.resolve().parents)
        real, linked = [folder], list[Path]()
        while real or linked:
            current = real.pop() if real else linked.pop(0)
            try:
                identity = identity_of(current)
                if identity in enclosing:
                    self.search.skipped.add(ENCLOSING_FOLDER)
                elif identity not in self._folders:
                    self._folders.add(identity)
                    self._list_folder(current, identity, real, linked)
            except OSError as error:
                self._report(current, f"The folder cannot be searched: {reason_of(error)}.")
        inside = self.search.found[first:]
        inside.sort(key=lambda one: one.location.replace(os.sep, "\0"))  # as their parts sort
        self.search.found[first:] = inside

    def _list_folder(
        self, folder: Path, identity: Identity, real: list[Path], linked: list[Path]
    ) -> None:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                try:
                    if entry.is_dir():
                        self._note_folder(entry, real, linked)
                    elif entry.name.startswith("._"):
                        self.search.skipped.add(COMPANION)
                    elif not entry.is_file():
                        self._note_special(entry)
                    elif _has_tile_suffix(entry.name):
                        self._add_file(identity, entry.name, entry.path)
                    else:
                        self.search.skipped.add_file(entry.name)
                except OSError as error:
                    self._report(Path(entry.path), f"It cannot be read: {reason_of(error)}.")

    def _note_folder(self, entry: os.DirEntry[str], real: list[Path], linked: list[Path]) -> None:
        if entry.name.startswith("."):  # such as `.git`, where git-annex keeps the files again
            self.search.skipped.add(HIDDEN_FOLDER)
        else:
            (linked if entry.is_symlink() else real).append(Path(entry.path))

    def _note_special(self, entry: os.DirEntry[str]) -> None:
        path = Path(entry.path)
        if not entry.is_symlink() or exists(path):
            self.search.skipped.add(SPECIAL_FILE)
        elif _has_tile_suffix(entry.name) or not path.suffix:  # a tile, or perhaps a folder
            self._report(path, _dead_link(path))
        else:
            self.search.skipped.add(DEAD_LINK)

    def _add_file(self, folder: Identity, name: str, location: str) -> None:
        if (folder, name) not in self._files:
            self._files.add((folder, name))
            self.search.found.append(Found(location))

    def _report(self, path: Path, error: str, is_missing: bool = False) -> None:
        self.search.found.append(Found(os.fspath(path), error, is_missing))


def _has_tile_suffix(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _dead_link(path: Path) -> str:
    return f"The link leads nowhere: {shown(path.readlink())} does not exist."
