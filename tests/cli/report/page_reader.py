"""Read a report as a browser does: its elements, texts and references."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

VOID = frozenset({"meta", "img", "input", "br"})
REFERENCES = frozenset(
    {"src", "href", "srcset", "poster", "data", "action", "formaction", "background", "xlink:href"}
)


class Page(HTMLParser):
    """The elements of a page; raises if they do not nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self.texts[-1][0] == self._open[-1]:
            self.texts[-1] = (self._open[-1], self.texts[-1][1] + data)
        elif self._open:
            self.texts.append((self._open[-1], data))

    def of(self, tag: str) -> Iterator[dict[str, str]]:
        """The attributes of all elements of a kind."""
        return (attributes for name, attributes in self.elements if name == tag)

    def text_of(self, tag: str) -> list[str]:
        """The texts directly in elements of a kind, in the order of the page."""
        return [text for name, text in self.texts if name == tag and text.strip()]

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join("".join(text for _, text in self.texts).split())

    @property
    def references(self) -> list[str]:
        """Everything that a browser might fetch."""
        return [
            value
            for _, attributes in self.elements
            for name, value in attributes.items()
            if name in REFERENCES
        ]
