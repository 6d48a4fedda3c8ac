"""Pieces of a page that come in one order and are read in another, kept on disk."""

from __future__ import annotations

from typing import BinaryIO


class Spool:
    """Keeps only the order and the places of the pieces in memory, about 200 bytes each."""

    def __init__(self, stream: BinaryIO) -> None:
        """Use an empty file, open for reading and writing."""
        self._stream = stream
        self._pieces: list[tuple[float, int, int]] = []

    def add(self, key: float, piece: str) -> None:
        """Store a piece, whose place in the order is `key`.

        Raises:
            OSError: the file cannot be written.
        """
        content = piece.encode("utf-8")
        self._pieces.append((key, self._stream.tell(), len(content)))
        self._stream.write(content)

    def copy_to(self, output: BinaryIO) -> None:
        """Write all pieces, the lowest key first; equals stay in the order in which they came.

        Raises:
            OSError: a file cannot be read or written.
        """
        end = self._stream.tell()
        for _, start, n_bytes in sorted(self._pieces):
            self._stream.seek(start)
            output.write(self._stream.read(n_bytes))
        self._stream.seek(end)
