"""What the Content-Type of a body announces: a form, the tile itself, or what is not accepted."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from python_multipart.multipart import parse_options_header

from app.core.errors import MalformedRequestError
from app.core.header_errors import MediaTypeError

FORM: Final = "multipart/form-data"
ACCEPTED_FOR_ONE: Final = (FORM, "image/*", "application/octet-stream")
ACCEPTED_FOR_SEVERAL: Final = (FORM,)
_BINARY: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_URLENCODED: Final = "application/x-www-form-urlencoded"
_MAX_SHOWN: Final = 60  # characters


def form_boundary(request: Request, field: str) -> bytes | None:
    """The boundary of a form; None if the body is a tile, or is urlencoded for all its header says.

    Args:
        request: its body has not been read.
        field: where a form has the tile.

    Raises:
        MediaTypeError: the header announces neither a form nor a file.
        MalformedRequestError: the form has no boundary.
    """
    media_type, options = _media_type(request)
    if media_type == FORM:
        return _boundary(options)
    if media_type in _BINARY or media_type.startswith("image/") or media_type == _URLENCODED:
        return None
    raise _refusal(media_type, ACCEPTED_FOR_ONE, field)


def require_form(request: Request, field: str) -> bytes | None:
    """The boundary of a form; None if the header announces nothing.

    Raises:
        MediaTypeError: the header announces something else than a form.
        MalformedRequestError: the form has no boundary.
    """
    media_type, options = _media_type(request)
    if media_type == FORM:
        return _boundary(options)
    if not media_type:
        return None
    raise _refusal(media_type, ACCEPTED_FOR_SEVERAL, field)


def require_file(request: Request, content: bytes, field: str) -> None:
    """Refuse an urlencoded body that is not a file.

    `curl --data-binary @tile.jpg` announces an intact file as urlencoded, and `curl -d @tile.jpg`
    one without its NUL bytes and line ends. Every supported format has NUL bytes in its header, and
    an urlencoded form has none.

    Raises:
        MediaTypeError: the body is announced as urlencoded, and is not an intact file.
    """
    if content and _media_type(request)[0] == _URLENCODED and b"\0" not in content:
        raise _refusal(_URLENCODED, ACCEPTED_FOR_ONE, field)


def _media_type(request: Request) -> tuple[str, dict[bytes, bytes]]:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    return media_type.decode("latin-1").strip(), options


def _boundary(options: dict[bytes, bytes]) -> bytes:
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequestError("The Content-Type multipart/form-data has no boundary.")
    return boundary


def _refusal(media_type: str, accepted: tuple[str, ...], field: str) -> MediaTypeError:
    advice = f"Send the tile as a file in a form: curl -F {field}=@tile.jpg"
    if accepted == ACCEPTED_FOR_ONE:
        advice += ", or as the body: curl -H 'Content-Type: image/jpeg' --data-binary @tile.jpg"
    if media_type == _URLENCODED:
        advice += ". curl -d announces this type and damages files"
    shown = media_type[:_MAX_SHOWN].encode("ascii", "replace").decode()
    return MediaTypeError(shown, accepted, f"{advice}.")
