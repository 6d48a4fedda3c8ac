"""The beginning of a file that is being fetched, and which version of the file it is of.

The bytes lie in `NAME.part`; what the server calls this version (`ETag`, else `Last-Modified`) lies
in `NAME.part.version`, so that a later call can ask for the rest of the same version (RFC 9110,
`Range` with `If-Range`) and never joins halves of two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from training.errors import DataError


class PartialFile:
    """`NAME.part` and its version; `path` is that of the bytes."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}.part")
        self._version_file = target.with_name(f"{target.name}.part.version")

    @property
    def n_bytes(self) -> int:
        """Bytes that have come so far."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    @property
    def version(self) -> str:
        """What `If-Range` may carry; empty where it is not known."""
        try:
            return self._version_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def begin(self, version: str) -> None:
        """Start with nothing, of this version.

        Raises:
            DataError: the disk is full or cannot be written.
        """
        self.discard()
        with local_disk(self._target):
            self._version_file.write_text(version, encoding="utf-8")

    def append(self, pieces: Iterator[bytes]) -> None:
        """Write what comes, as it comes.

        Raises:
            DataError: the disk is full or cannot be written.
        """
        with local_disk(self._target):
            # Unbuffered: what has come is in the file, whatever ends this process.
            stream = self.path.open("ab", buffering=0)
        with stream:
            for piece in pieces:
                with local_disk(self._target):
                    written = 0
                    while written < len(piece):  # a disk that fills up takes the first half
                        written += stream.write(piece[written:])

    def finish(self) -> None:
        """Give the file its name.

        Raises:
            DataError: the folder cannot be written.
        """
        with local_disk(self._target):
            self.path.replace(self._target)
            self._version_file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget what has come."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            self._version_file.unlink(missing_ok=True)


@contextlib.contextmanager
def local_disk(path: Path) -> Iterator[None]:
    """Say of an error while writing that it is this machine's and not the server's.

    Raises:
        DataError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be written: {error.strerror}. Make room or permission, then run "
            "the same command again: it goes on where it was."
        ) from error
