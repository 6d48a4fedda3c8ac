"""Training and service turn the same file into exactly the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.runtime.protocol import ModelOutputs
from tests.bundles import FakeRuntime
from tests.conftest import MakeClient
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index, IndexedTile
from training.features.extract import read_tiles


class RecordingRuntime(FakeRuntime):
    """Records the tiles that reach the model."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[NDArray[np.uint8]] = []

    def infer(self, tiles: NDArray[np.uint8], *, alone: bool = False) -> ModelOutputs:
        self.seen.append(tiles.copy())
        return super().infer(tiles, alone=alone)


@pytest.fixture
def runtime() -> RecordingRuntime:
    return RecordingRuntime()


@pytest.mark.parametrize(
    ("side_px", "labels"),
    [(256, ("non_tumor", "non_viable_tumor", "viable_tumor")), (1024, ("viable_tumor",))],
)
def test_training_and_service_see_the_same_pixels(
    make_client: MakeClient,
    runtime: RecordingRuntime,
    tmp_path: Path,
    side_px: int,
    labels: tuple[str, ...],
) -> None:
    client = make_client()
    for label in labels:
        (tmp_path / "tile.jpg").write_bytes(encode_tile(draw_tile(label, side_px, 7), "JPEG"))
        runtime.seen.clear()
        with (tmp_path / "tile.jpg").open("rb") as stream:
            answer = client.post("/v1/classify", files={"file": stream})
        assert answer.status_code == 200
        assert np.array_equal(runtime.seen[0], read_tiles(index_of("tile.jpg", label), tmp_path))


@pytest.mark.real_tiles
def test_training_and_service_see_the_same_pixels_of_real_tiles(
    make_client: MakeClient, runtime: RecordingRuntime, real_tiles_dir: Path
) -> None:
    client = make_client()
    for file in sorted(real_tiles_dir.rglob("*.jpg"))[:5]:
        runtime.seen.clear()
        client.post("/v1/classify", content=file.read_bytes())
        assert np.array_equal(runtime.seen[0], read_tiles(index_of(file.name, "x"), file.parent))


def index_of(file: str, label: str) -> Index:
    tile = IndexedTile(
        name="Case 3 A1-1-2",
        file=file,
        sha256="0" * 64,
        case="Case 3",
        slide="Case 3 A1",
        x=1,
        y=2,
        raw_label="Viable",
        label=label,
    )
    return Index(mixed_tiles="viable", table="t.csv", table_sha256="0" * 64, tiles=(tile,))
