"""The tiles of a multipart form, parsed while it arrives.

python-multipart parses the form. Unlike Starlette's form reader, this one spools nothing to disk
and discards a field as soon as it exceeds its limit.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.core.errors import (
    MalformedRequestError,
    MissingTileError,
    TileError,
    TooManyTilesError,
)
from app.core.tile_errors import TextTileError, TileTooLargeError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_OTHER_PARTS: Final = 32  # other fields, which clients may add and which are ignored
_PART_HEADER_BYTES: Final = 8 * 1024
_MAX_SHOWN_FIELDS: Final = 8
_MAX_SHOWN_NAME: Final = 40  # characters
_TEXT_BYTES: Final = 4096  # that are looked at; no image format begins with so much text
_BINARY: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_EXTENDED_NAME: Final = re.compile(
    rb"filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ReceivedTile:
    """A tile as its client sent it.

    Attributes:
        content: its bytes; the error of one that is too large or is no file.
        file_name: as the client gave it, never logged; None if it gave none.
    """

    content: bytes | TileError
    file_name: str | None


class TileForm:
    """Collects the tiles of one field from a form that arrives in chunks; others are ignored."""

    def __init__(self, boundary: bytes, field: str, max_tile_bytes: int, max_tiles: int) -> None:
        """Expect `max_tiles` tiles of `max_tile_bytes` in `field`.

        Raises:
            MalformedRequestError: the boundary is not valid.
        """
        self._field = field
        self._max_tile_bytes = max_tile_bytes
        self._max_tiles = max_tiles
        self._tiles: list[ReceivedTile] = []
        self._names: list[str] = []  # of other fields
        self._is_complete = False
        self._n_parts = 0
        self._preamble: bytearray | None = bytearray()
        self._begin = b"\r\n--" + boundary
        self._part = _Part()
        self._header_name = bytearray()
        self._header_value = bytearray()
        try:
            self._parser = MultipartParser(boundary, self._callbacks())
        except FormParserError as error:
            raise MalformedRequestError(f"The form cannot be parsed: {error}.") from error

    def write(self, chunk: bytes) -> None:
        """Parse the next chunk.

        Raises:
            TooManyTilesError: the form has more tiles than allowed.
            MalformedRequestError: the form cannot be parsed.
        """
        try:
            self._parser.write(self._without_preamble(chunk))
        except FormParserError as error:
            raise MalformedRequestError(f"The form cannot be parsed: {error}.") from error

    def finish(self) -> list[ReceivedTile]:
        """The tiles, in the order sent.

        Raises:
            MissingTileError: the form has no such field.
            MalformedRequestError: the form is not complete.
        """
        if self._preamble is not None:
            raise MalformedRequestError(
                "The body does not contain the boundary that its Content-Type announces."
            )
        if not self._is_complete:
            raise MalformedRequestError("The form ends before its closing boundary.")
        if not self._tiles:
            raise MissingTileError(self._field, self._names)
        return self._tiles

    def _without_preamble(self, chunk: bytes) -> bytes:
        """Drop what comes before the first boundary (RFC 2046, 5.1.1), which the parser refuses."""
        if self._preamble is None:
            return chunk
        if not self._preamble:
            self._preamble += b"\r\n"  # the boundary may be the first line
        self._preamble += chunk
        start = self._preamble.find(self._begin)
        if start < 0:
            del self._preamble[: -len(self._begin)]
            return b""
        form = bytes(self._preamble[start + 2 :])
        self._preamble = None
        return form

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._header_name_data,
            "on_header_value": self._header_value_data,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_data,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._n_parts += 1
        if self._n_parts > self._max_tiles + _OTHER_PARTS:
            raise MalformedRequestError("The form has too many fields.")
        self._part = _Part()

    def _header_name_data(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_name += data[start:end]

    def _header_value_data(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_value += data[start:end]

    def _count_header(self, n_bytes: int) -> None:
        self._part.n_header_bytes += n_bytes
        if self._part.n_header_bytes > _PART_HEADER_BYTES:
            raise MalformedRequestError("The headers of a form field are too long.")

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._part.read_disposition(bytes(self._header_value))
            self._part.is_tile = self._part.name == self._field
        self._header_name.clear()
        self._header_value.clear()

    def _begin_data(self) -> None:
        if self._part.is_tile and len(self._tiles) == self._max_tiles:
            raise TooManyTilesError(self._max_tiles)
        if not self._part.is_tile and len(self._names) < _MAX_SHOWN_FIELDS:
            self._names.append(shown_name(self._part.name))

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if not part.is_tile or part.is_too_large:
            return
        if len(part.content) + end - start > self._max_tile_bytes:
            part.is_too_large = True
            part.content = bytearray()
        else:
            part.content += data[start:end]

    def _end_part(self) -> None:
        part = self._part
        if not part.is_tile:
            return
        content: bytes | TileError = bytes(part.content)
        if part.is_too_large:
            content = TileTooLargeError(self._max_tile_bytes)
        elif part.file_name is None and _is_text(part.content):
            content = TextTileError(self._field)
        self._tiles.append(ReceivedTile(content, part.file_name or None))
        part.content = bytearray()

    def _end(self) -> None:
        self._is_complete = True


@dataclass(slots=True)
class _Part:
    """The form field that is being read."""

    name: str = ""
    file_name: str | None = None
    content: bytearray = dataclass_field(default_factory=bytearray)
    is_tile: bool = False
    is_too_large: bool = False
    n_header_bytes: int = 0

    def read_disposition(self, header: bytes) -> None:
        """Take the names of field and file from a Content-Disposition."""
        _, options = parse_options_header(header)
        self.name = options.get(b"name", b"").decode(errors="replace")
        # RFC 7578 forbids the extended form, which some clients send for names beyond ASCII.
        if extended := _EXTENDED_NAME.search(header):
            charset, text = (part.decode("latin-1") for part in extended.groups())
            self.file_name = unquote(text, charset, errors="replace")
        elif b"filename" in options:
            self.file_name = options[b"filename"].decode(errors="replace")


def shown_name(name: str) -> str:
    """The name of a field, short and printable."""
    cut = name[:_MAX_SHOWN_NAME] + ("..." if len(name) > _MAX_SHOWN_NAME else "")
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def _is_text(content: bytearray) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(bytes(content[:_TEXT_BYTES]))
    except UnicodeDecodeError:
        return False
    return bool(text) and not _BINARY.search(text)
