"""A file without the parts that its pixels do not need."""

from __future__ import annotations


class Excerpt:
    """Drops ranges of a file, from its beginning to its end; copies once."""

    def __init__(self, content: bytes) -> None:
        """Drop nothing yet.

        Args:
            content: a whole file.
        """
        self._content = content
        self._view = memoryview(content)
        self._parts: list[memoryview | bytes] = []
        self._kept_from = 0

    def drop(self, begin: int, end: int, instead: bytes = b"") -> None:
        """Leave a range out, which does not begin before the end of the one before."""
        self._parts += (self._view[self._kept_from : begin], instead)
        self._kept_from = end

    def joined(self, end: int) -> bytes:
        """The rest up to `end`; the whole file itself if nothing was dropped."""
        if not self._parts:
            return self._content
        return b"".join([*self._parts, self._view[self._kept_from : end]])
