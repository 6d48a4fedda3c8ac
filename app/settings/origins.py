"""The setting that lists origins: `scheme://host[:port]`, separated by commas."""

from __future__ import annotations

import re
from typing import Final

ANY_ORIGIN: Final = "*"
_MAX_PORT: Final = 65535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)


def parse_origins(text: str) -> tuple[str, ...]:
    """The origins as browsers send them: in lower case, without the scheme's own port.

    Raises:
        ValueError: one of them is not an origin; the sentence shows it.
    """
    given = [origin.strip() for origin in text.split(",") if origin.strip()]
    return tuple(dict.fromkeys(map(_parse_origin, given)))


def _parse_origin(text: str) -> str:
    if text == ANY_ORIGIN:
        return text
    found = _ORIGIN.fullmatch(text.lower())
    if not found or int(found["port"] or 0) > _MAX_PORT:
        raise ValueError(
            f"{text!r} is not an origin such as https://viewer.example.org:8443, with a scheme "
            "and without a path or a slash at the end"
        )
    scheme, host, port = found["scheme"], found["host"], int(found["port"] or 0)
    return f"{scheme}://{host}" + (f":{port}" if port not in {0, _DEFAULT_PORTS[scheme]} else "")
