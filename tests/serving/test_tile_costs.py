from __future__ import annotations

import pytest

from app.core.tile import DEFAULT_LIMITS
from app.serving.tile_costs import TileCosts, TileKind, tile_kind
from tests.attacks.files import FILES
from tests.bundles import plain_tile

MAX_PIXELS = DEFAULT_LIMITS.max_pixels
JPEG = TileKind("JPEG", 21, 0)
WEBP = TileKind("WEBP", 25, 0)
TAKE_LONG_TO_MAKE = {"widest_png", "largest_webp", "largest_tiff", "largest_progressive_jpeg"}
assert FILES.keys() >= TAKE_LONG_TO_MAKE


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_kind_is_format_and_size(format_: str) -> None:
    kind = tile_kind(plain_tile((200, 120, 160), 256, format_), MAX_PIXELS, drawn_px=512)
    assert kind == TileKind(format_, (256 * 256).bit_length(), (512 * 512).bit_length())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.exhaustive) if name in TAKE_LONG_TO_MAKE else name
        for name in FILES
    ],
)
def test_kind_of_a_hostile_file_is_read(name: str) -> None:
    assert tile_kind(FILES[name](), MAX_PIXELS).log2_pixels <= 32


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"II*\0", b"hello"])
def test_kind_of_no_image_is_unknown(content: bytes) -> None:
    assert tile_kind(content, MAX_PIXELS) == TileKind("", 0, 0)


def test_size_is_read_from_a_large_file_without_the_rest() -> None:
    head = plain_tile((1, 2, 3), 256, "JPEG")
    assert tile_kind(head + bytes(10_000_000), MAX_PIXELS) == tile_kind(head, MAX_PIXELS)


def test_kinds_are_learnt_apart() -> None:
    costs = TileCosts()
    for _ in range(100):
        costs.observe(JPEG, 0.01)
        costs.observe(WEBP, 0.4)
    assert costs.estimate_s(JPEG) == pytest.approx(0.01)
    assert costs.estimate_s(WEBP) == pytest.approx(0.4)
    assert costs.mean_s == pytest.approx(0.2, abs=0.02)


def test_estimate_follows_a_change() -> None:
    costs = TileCosts()
    for _ in range(100):
        costs.observe(JPEG, 0.01)
    for _ in range(50):
        costs.observe(JPEG, 0.5)
    assert costs.estimate_s(JPEG) == pytest.approx(0.5, rel=0.01)


def test_large_tiles_and_pictures_are_assumed_to_be_expensive() -> None:
    costs = TileCosts()
    small, large = costs.estimate_s(TileKind("WEBP", 17, 0)), costs.estimate_s(WEBP)
    drawn = costs.estimate_s(TileKind("JPEG", 21, 23))
    assert small < 0.05
    assert 0.2 < large < 1.0
    assert 0.2 < drawn < 2.0
