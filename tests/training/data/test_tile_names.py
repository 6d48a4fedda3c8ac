from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.tile_names import TileName, file_stem_of, parse_tile_name


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("Case 3 A15-2939-11262", TileName("Case 3", "Case-3-A15", 2939, 11262)),
        ("Case 48 - P5 C20-15162-19423", TileName("Case 48", "Case-48-P5-C20", 15162, 19423)),
        ("Case-48-P5-C20-15162-19423", TileName("Case 48", "Case-48-P5-C20", 15162, 19423)),
        ("P9 B28-22141-15533", TileName("P9", "P9-B28", 22141, 15533)),
    ],
)
def test_parse_tile_name_reads_both_spellings(name: str, parsed: TileName) -> None:
    assert parse_tile_name(name) == parsed


@pytest.mark.parametrize(
    "name", ["", "0", "Case 3 A15", "Case 3 A15-1", "Case A15-1-2", "Case 3 A15-1-2-3", "A15-1-2"]
)
def test_parse_tile_name_refuses_other_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not CASE SLIDE-X-Y"):
        parse_tile_name(name)


@given(st.text())
def test_parse_tile_name_parses_or_refuses_anything(name: str) -> None:
    try:
        parsed = parse_tile_name(name)
    except ValueError:
        return
    assert f"{parsed.slide}-{parsed.x}-{parsed.y}".count("-") >= 3


@given(
    case=st.integers(0, 99),
    part=st.none() | st.integers(0, 9),
    block=st.from_regex(r"[A-Z][0-9]{1,2}", fullmatch=True),
    x=st.integers(0, 99999),
    y=st.integers(0, 99999),
)
def test_parse_tile_name_parses_every_name_of_the_collections_pattern(
    case: int, part: int | None, block: str, x: int, y: int
) -> None:
    who = f"Case {case}" if part is None else f"Case {case} - P{part}"
    parsed = parse_tile_name(f"{who} {block}-{x}-{y}")
    assert (parsed.case, parsed.x, parsed.y) == (f"Case {case}", x, y)
    assert parsed.slide == file_stem_of(f"{who} {block}")


@given(st.text())
def test_file_stem_of_is_idempotent(name: str) -> None:
    once = file_stem_of(name)
    assert file_stem_of(once) == once


@pytest.mark.real_tiles
def test_parse_tile_name_reads_every_real_name(real_dir: Path) -> None:
    path = real_dir / "image_names_1144.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    with path.open(newline="") as stream:
        names = [row["image.name"] for row in csv.DictReader(stream)]
    parsed = [parse_tile_name(name) for name in names]
    assert len(names) == len({file_stem_of(name) for name in names}) == 1144
    assert len({name.slide for name in parsed}) == 41
    assert {name.case for name in parsed} == {"Case 3", "Case 4", "Case 48", "P9"}
