from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.data.annotations import find_table, read_table
from training.errors import DataError

HEADER = "image.name,classification"


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_read_table_ignores_other_columns_spaces_blank_lines_and_a_byte_order_mark(
    tmp_path: Path,
) -> None:
    content = (
        "\ufeffarea, classification ,image.name\n1, Viable ,Case 3 A1-1-2 \n\n2,Non-Tumor,P9\n"
    )
    table = read_table(write(tmp_path, content))
    assert [(row.line, row.name, row.classification) for row in table.rows] == [
        (2, "Case 3 A1-1-2", "Viable"),
        (4, "P9", "Non-Tumor"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no column image.name"),
        ("image.name\nP9", "no column classification"),
        (f"{HEADER}\nonly-a-name", "line 2: the row is too short"),
        (b"image.name,classification\n\x81\xff", "not text in UTF-8"),
        (f'{HEADER}\n"{"x" * 140_000}",Viable', "line"),
    ],
)
def test_read_table_names_what_is_wrong(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_table(write(tmp_path, content))


def test_find_table_skips_files_without_the_columns(tmp_path: Path) -> None:
    write(tmp_path, "image.name\nP9 B1-1-1\n", "image_names.csv")
    write(tmp_path, b"\xff\xfe\x00", "binary.csv")
    table = write(tmp_path, HEADER, "features.csv")
    assert find_table(tmp_path) == table


def test_find_table_asks_for_a_table_when_there_is_none_or_more_than_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no CSV file .* --table"):
        find_table(tmp_path)
    write(tmp_path, HEADER, "a.csv")
    write(tmp_path, HEADER, "b.csv")
    with pytest.raises(DataError, match=r"a\.csv, b\.csv.*--table"):
        find_table(tmp_path)
    with pytest.raises(DataError, match="OSTEO_DATA_DIR"):
        find_table(tmp_path / "missing")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=100) | st.text(max_size=100).map(lambda s: f"{HEADER}\n{s}"))
def test_read_table_reads_or_refuses_any_content(tmp_path: Path, content: str | bytes) -> None:
    path = write(tmp_path, content if isinstance(content, bytes) else content.encode("utf-8"))
    with contextlib.suppress(DataError):  # any other error would fail the test
        assert all(row.name == row.name.strip() for row in read_table(path).rows)
