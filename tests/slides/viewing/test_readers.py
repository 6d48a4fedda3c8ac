"""The processes that read slides: what they answer, and what happens when they die."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pytest
from PIL import Image

from app.core.manifest import InputContract
from app.core.slide_errors import SlideFormatError, SlideResolutionError
from app.core.slide_limits import SlideLimits
from app.core.slide_store_errors import ReadersBusyError, SlideReaderError, ZoomTileNotFoundError
from app.slides.viewing import readers as readers_module
from app.slides.viewing.deep_zoom import describe_pyramid, max_level, zoom_tile
from app.slides.viewing.readers import Readers, SlideFile
from tests.servers import wait_until
from tests.slides.drawn_slides import Drawing, DrawnSlide, draw_slide

Value = TypeVar("Value")
GIBIBYTE = 1024**3
CONTRACT = InputContract()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DrawnSlide:
    return draw_slide(tmp_path_factory.mktemp("drawn") / "slide.tif", Drawing(columns=3, rows=2))


def ask(
    question: Callable[[Readers], Awaitable[Value]],
    limits: SlideLimits | None = None,
    memory_bytes: int = 2 * GIBIBYTE,
) -> Value:
    """Ask fresh readers."""

    async def run() -> Value:
        readers = Readers(limits or SlideLimits(), memory_bytes)
        try:
            return await question(readers)
        finally:
            readers.close()

    return asyncio.run(run())


def file_of(drawn: DrawnSlide) -> SlideFile:
    return SlideFile(drawn.path, None, allow_companions=False)


def pixels(jpeg: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(jpeg)))


class Asked(NamedTuple):
    """What one process answered, and what its environment had."""

    tile: bytes
    last_tiles: list[bytes]
    environ: bytes


@pytest.fixture(scope="module")
def asked(drawn: DrawnSlide) -> Asked:
    """The tile in column 4 and row 3 of the last level, and the last tile of each level."""
    last_level = max_level(*drawn.size)
    lasts = [(level, *last_of(drawn, level)) for level in range(last_level + 1)]

    async def question(readers: Readers) -> Asked:
        tile = await readers.zoom_tile(file_of(drawn), last_level, 4, 3)
        last_tiles = [await readers.zoom_tile(file_of(drawn), *last) for last in lasts]
        return Asked(tile, last_tiles, await asyncio.to_thread(environments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_ADMIN_TOKEN", "a-secret-of-sixteen")
        return ask(question)


def last_of(drawn: DrawnSlide, level: int) -> tuple[int, int]:
    """Column and row of the last tile of a level."""
    scale = 2 ** (max_level(*drawn.size) - level)
    columns, rows = (-(-side // (scale * 256)) for side in drawn.size)
    return columns - 1, rows - 1


def test_zoom_tile_shows_the_pixels_of_the_slide(drawn: DrawnSlide, asked: Asked) -> None:
    tile = pixels(asked.tile)
    expected = drawn.region(4 * 256, 3 * 256, 256, 256)
    assert tile.shape == (256, 256, 3)
    assert np.abs(tile.astype(float) - expected).mean() < 8


def test_zoom_tiles_of_every_level_cover_the_slide(drawn: DrawnSlide, asked: Asked) -> None:
    (width, height), sizes = drawn.size, []
    for level in range(max_level(width, height) + 1):
        scale = 2 ** (max_level(width, height) - level)
        column, row = last_of(drawn, level)
        last = zoom_tile(width, height, level, column, row)
        assert column * 256 + last.size[0] == -(-width // scale)
        assert row * 256 + last.size[1] == -(-height // scale)
        with pytest.raises(ZoomTileNotFoundError):
            zoom_tile(width, height, level, column + 1, 0)
        sizes.append(last.size)
    assert len(sizes) == 13
    assert [pixels(tile).shape[1::-1] for tile in asked.last_tiles] == sizes


def test_zoom_tile_that_takes_too_many_pixels_is_drawn_blurred(tmp_path: Path) -> None:
    drawn = draw_slide(tmp_path / "x.tif", Drawing(columns=2, rows=1, has_pyramid=False))
    limits = SlideLimits(max_read_pixels=10**6)
    tile, sharp = (
        pixels(ask(lambda readers: readers.zoom_tile(file_of(drawn), 9, 0, 0), chosen))
        for chosen in (limits, None)
    )
    whole = drawn.region(0, 0, 1024, 1024)
    assert tile.shape == (256, 256, 3)
    assert (tile != sharp).any()
    assert np.abs(tile.mean((0, 1)) - whole.mean((0, 1))).max() < 12


def test_inspection_counts_the_tiles_with_tissue(drawn: DrawnSlide) -> None:
    found = ask(lambda readers: readers.inspect(file_of(drawn), CONTRACT))
    assert (found.columns, found.rows) == (3, 2)
    assert found.n_tissue == len(list(drawn.cells()))


def test_pyramid_is_described_as_viewers_read_it() -> None:
    assert describe_pyramid(3072, 2048).splitlines()[1] == (
        '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" Overlap="0" '
        'TileSize="256"><Size Width="3072" Height="2048"/></Image>'
    )


def test_refusal_is_the_error_that_the_process_raised(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no slide")
    file = SlideFile(tmp_path / "notes.txt", None, allow_companions=False)
    with pytest.raises(SlideFormatError) as refusal:
        ask(lambda readers: readers.inspect(file, CONTRACT))
    assert refusal.value.reason in str(refusal.value)
    drawn = draw_slide(tmp_path / "x.tif", Drawing(columns=1, rows=1, states_mpp=False))
    with pytest.raises(SlideResolutionError):
        ask(lambda readers: readers.inspect(file_of(drawn), CONTRACT))


def children() -> Iterator[int]:
    """Processes of readers that this process has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (OSError, ProcessLookupError):
            continue
        if parent == os.getpid() and b"reading_process" in command:
            yield int(folder.name)


def first_child() -> int:
    wait_until(lambda: any(children()))
    return next(children())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_killed_reader_is_replaced_and_none_is_left(drawn: DrawnSlide) -> None:
    async def kill_between(readers: Readers) -> list[bytes]:
        before = await readers.thumbnail(file_of(drawn))
        for child in children():
            os.kill(child, signal.SIGKILL)
        return [before, await readers.thumbnail(file_of(drawn))]

    before, after = ask(kill_between)
    assert before == after
    assert not list(children())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_reader_that_dies_at_work_fails_its_request_alone(drawn: DrawnSlide) -> None:
    async def kill_at_work(readers: Readers) -> int:
        asking = asyncio.create_task(readers.inspect(file_of(drawn), CONTRACT))
        found = await asyncio.to_thread(first_child)
        os.kill(found, signal.SIGKILL)
        with pytest.raises(SlideReaderError, match=r"was reading the slide crashed\. Try again\.$"):
            await asking
        return (await readers.inspect(file_of(drawn), CONTRACT)).facts.width_px

    assert ask(kill_at_work) == drawn.size[0]


def test_reader_that_takes_too_long_is_ended(
    drawn: DrawnSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.slides.viewing.reader_process.TIMEOUT_S", 0.0)
    with pytest.raises(SlideReaderError, match="longer than"):
        ask(lambda readers: readers.inspect(file_of(drawn), CONTRACT))


def test_reader_without_memory_fails_its_request_alone(drawn: DrawnSlide) -> None:
    with pytest.raises(SlideReaderError):
        ask(lambda readers: readers.thumbnail(file_of(drawn)), memory_bytes=8 * 1024**2)


def test_more_requests_than_may_wait_are_refused(
    drawn: DrawnSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers_module, "MAX_WAITING", 3)

    async def flood(readers: Readers) -> list[object]:
        asking = [readers.thumbnail(file_of(drawn)) for _ in range(8)]
        return await asyncio.gather(*asking, return_exceptions=True)

    answers = ask(flood)
    assert sum(isinstance(answer, bytes) for answer in answers) == 3
    assert sum(isinstance(answer, ReadersBusyError) for answer in answers) == 5


def environments() -> bytes:
    return b"".join(Path(f"/proc/{child}/environ").read_bytes() for child in children())


def test_reader_does_not_get_the_secrets_of_the_service(asked: Asked) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    assert b"PATH" in asked.environ
    assert b"sixteen" not in asked.environ
