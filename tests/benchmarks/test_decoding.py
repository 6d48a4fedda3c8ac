"""The tables about damage and layouts are made from any tile."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import damage, tiff_layouts
from training.data.drawn_tiles import draw_tile


@pytest.fixture
def tile(tmp_path: Path) -> str:
    stream = io.BytesIO()
    Image.fromarray(draw_tile("viable_tumor", 256, 0)).save(stream, "JPEG", quality=90)
    path = tmp_path / "tile.jpg"
    path.write_bytes(stream.getvalue())
    return str(path)


def test_damage_prints_what_is_seen(tile: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage.main([tile])
    rows = {row.split(" | ")[0]: row for row in capsys.readouterr().out.splitlines()}
    assert rows["| end marker missing"].count("nothing changes") == 3
    assert rows["| cut at 50 %"].count("100 % (100 %)") == 3
    assert len(rows) == 2 + len(damage.DAMAGES)


def test_lossless_layouts_are_read_alike(tile: str, capsys: pytest.CaptureFixture[str]) -> None:
    tiff_layouts.main([tile])
    _, _, *rows = capsys.readouterr().out.splitlines()
    differences = {row.split(" | ")[0]: float(row.split(" | ")[1]) for row in rows}
    assert differences.pop("| JPEG of quality 95, tiles") < 16
    assert set(differences.values()) == {0.0}
