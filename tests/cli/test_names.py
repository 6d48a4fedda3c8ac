from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.cells import cell_len

from app.cli.names import one_line, path_text, shorten_left, shorten_right


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"1.jpg", "1.jpg"),
        ("切片.jpg".encode(), "切片.jpg"),
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        (b"\xff\xfe\x80.png", "\\xff\\xfe\\x80.png"),
    ],
)
def test_path_text_is_always_utf8(name: bytes, text: str) -> None:
    assert path_text(Path(os.fsdecode(name))) == text
    text.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\r.jpg", "two\\nlines\\r.jpg"),
        ("tab\there", "tab\\there"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202egpj.1", "\\u202egpj.1"),
        ("\u2028\x85", "\\u2028\\x85"),
        ('[red]a, "b"[/red]', '[red]a, "b"[/red]'),
        ("全角\u3000空白", "全角\u3000空白"),
    ],
)
def test_one_line_escapes_what_breaks_or_controls_a_line(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "shift_jis", "utf-16"])
def test_one_line_fits_the_encoding(encoding: str) -> None:
    line = one_line("切片 é.jpg", encoding)
    assert line.encode(encoding).decode(encoding) == line
    assert line.endswith(".jpg")


def test_shorten_keeps_the_end_of_a_name_and_the_start_of_a_sentence() -> None:
    assert shorten_left("case-4/1.jpg", 8) == "…4/1.jpg"
    assert shorten_right("out_of_distribution", 8) == "out_of_…"
    assert shorten_left("1.jpg", 5) == shorten_right("1.jpg", 5) == "1.jpg"
    assert shorten_left("case-4/1.jpg", 8, "ascii") == "../1.jpg"


@pytest.mark.parametrize("text", ["切片" * 40, "a" * 4096, "é́" * 60, "e\u0301" * 99])
@pytest.mark.parametrize("width", [1, 2, 7, 30])
def test_shorten_never_exceeds_the_width(text: str, width: int) -> None:
    assert cell_len(shorten_left(text, width)) <= width
    assert cell_len(shorten_right(text, width)) <= width
