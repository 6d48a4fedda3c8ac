"""Templates of HTML whose values are escaped unless they are HTML already."""

from __future__ import annotations

import html
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template


class Html(str):
    """Text that is HTML, and is therefore not escaped again."""

    __slots__ = ()


def fill(template: str, /, **values: object) -> Html:
    """Replace each `$name` of a template by its value, escaped unless it is `Html`."""
    return Html(Template(template).substitute({k: escaped(v) for k, v in values.items()}))


def fill_file(path: Path, /, **values: object) -> Html:
    """Fill the template in a file; see `fill`."""
    return fill(read_template(path), **values)


def joined(parts: Iterable[Html]) -> Html:
    """Put pieces of HTML together."""
    return Html("".join(parts))


def escaped(value: object) -> Html:
    """The value as HTML; `&`, `<`, `>` and quotes are escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


@cache
def read_template(path: Path) -> Html:
    """The text of a template's file, which is read once."""
    return Html(path.read_text(encoding="utf-8"))
