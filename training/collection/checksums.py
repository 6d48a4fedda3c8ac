"""`SHA256SUMS`: the hash of every file, as `sha256sum` writes and checks it.

The same format is read from a mirror and left in the folder, so that a fetched folder can be
checked with `sha256sum --check SHA256SUMS` and served as a mirror as it is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from training.errors import DataError
from training.storage.atomic import try_lock, write_whole

SUMS_NAME: Final = "SHA256SUMS"
_JOURNAL_NAME: Final = f"{SUMS_NAME}.part"
_LINE: Final = re.compile(r"(?P<sha256>[0-9a-fA-F]{64}) [ *](?:\./)?(?P<path>.+)")


def parse_sums(text: str, where: str) -> dict[str, str]:
    """SHA-256 by path (relative, with `/`) of a hash list.

    Raises:
        DataError: a line is no hash and path, or one path has two hashes.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise DataError(f"{where}, line {number}: it is not HASH  PATH, as sha256sum writes.")
        sha256 = match["sha256"].lower()
        if sums.setdefault(match["path"], sha256) != sha256:
            raise DataError(f"{where}, line {number}: {match['path']} has two hashes.")
    return sums


def read_sums(path: Path) -> dict[str, str]:
    """Read a hash list.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        return parse_sums(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: it is not UTF-8 text.") from error


class Journal:
    """The hashes of the files of a folder, kept line by line while they are fetched.

    Lines go to `SHA256SUMS.part` at once, so that `kill -9` loses none; leaving the context writes
    `SHA256SUMS`, sorted, in one rename. While it is open no other fetch may write to the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder's journal; what earlier fetches recorded is in `recorded`.

        Raises:
            DataError: the folder cannot be written, or another fetch is at work in it.
        """
        self._sums, self._part = folder / SUMS_NAME, folder / _JOURNAL_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._stream = self._part.open("a+", encoding="utf-8", errors="replace")
        except OSError as error:
            raise DataError(f"{folder} cannot be written: {error.strerror}.") from error
        if not try_lock(self._stream):
            self._stream.close()
            raise DataError(f"Another fetch is at work in {folder}. Wait for it, or end it.")
        self.recorded: dict[str, str] = _sound_lines(self._sums)
        self.recorded |= _sound_lines(self._part)

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def record(self, path: str, sha256: str) -> None:
        """Note that a file is right.

        Raises:
            DataError: the line cannot be written.
        """
        if self.recorded.get(path) == sha256:
            return
        self.recorded[path] = sha256
        try:
            # A line that kill -9 tore has no end of its own.
            self._stream.write(f"\n{_line(path, sha256)}")
            self._stream.flush()
        except OSError as error:
            raise DataError(f"{self._part} cannot be written: {error.strerror}.") from error

    def forget(self, path: str) -> None:
        """Note that a file is not right, so that nothing vouches for it."""
        self.recorded.pop(path, None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write `SHA256SUMS`; a disk that is full leaves the journal, which serves as well."""
        content = format_sums(self.recorded).encode()
        with contextlib.suppress(OSError):
            write_whole(self._sums, lambda stream: stream.write(content))
            self._part.unlink()
        with contextlib.suppress(OSError):
            self._stream.close()


def format_sums(sums: Mapping[str, str]) -> str:
    """The text of a hash list, sorted by path."""
    return "".join(_line(path, sums[path]) for path in sorted(sums))


def _line(path: str, sha256: str) -> str:
    return f"{sha256}  {path}\n"


def _sound_lines(path: Path) -> dict[str, str]:
    """What can be read of a list that a kill or a disk may have torn."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match["path"]: match["sha256"] for match in found if match}
