"""A network's input has the same pixels in training and in the service, at any side."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.manifest import MANIFEST_NAME, write_manifest
from app.runtime.protocol import ModelOutputs
from tests.bundles import FakeRuntime, build_bundle, manifest_of
from tests.conftest import MakeClient
from training.config import TrainingConfig
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index, IndexedTile
from training.data.tiles import TileStream
from training.release.provenance import describe_input

INDEX = Index(
    mixed_tiles="viable",
    table="t.csv",
    table_sha256="0" * 64,
    tiles=(
        IndexedTile(
            name="Case 3 A1-1-2",
            file="tile",
            sha256="0" * 64,
            case="Case 3",
            slide="Case 3 A1",
            x=1,
            y=2,
            raw_label="Viable",
            label="viable_tumor",
        ),
    ),
)


class RecordingRuntime(FakeRuntime):
    """Records the tiles that reach the model."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[NDArray[np.uint8]] = []

    def infer(self, tiles: NDArray[np.uint8], *, alone: bool = False) -> ModelOutputs:
        self.seen.append(tiles.copy())
        return super().infer(tiles, alone=alone)


@cache
def drawn(side_px: int) -> NDArray[np.uint8]:
    return draw_tile("viable_tumor", side_px, 7)


@pytest.fixture
def runtime() -> RecordingRuntime:
    return RecordingRuntime()


@pytest.mark.parametrize(
    ("backbone", "side_px"),
    [
        ({}, 224),
        ({"side_px": 320}, 320),
        ({"side_px": 224, "tile_side_px": 448}, 448),
    ],
    ids=["default", "320", "448 reduced to 224"],
)
def test_service_decodes_a_tile_to_the_pixels_that_taught_the_network(
    make_client: MakeClient,
    runtime: RecordingRuntime,
    tmp_path: Path,
    backbone: dict[str, int],
    side_px: int,
) -> None:
    config = TrainingConfig.model_validate(
        {"model_name": "drawn", "network": {"backbone": backbone}}
    )
    bundle_dir = build_bundle(tmp_path / "released")
    contract = describe_input(INDEX, config)
    released = manifest_of(bundle_dir).model_copy(update={"input": contract})
    write_manifest(bundle_dir / MANIFEST_NAME, released)
    client = make_client(models_dir=tmp_path / "released")
    for format_, drawn_px in (("JPEG", 1024), ("JPEG", 640), ("PNG", 640)):
        content = encode_tile(drawn(drawn_px), format_)
        (tmp_path / "tile").write_bytes(content)
        taught = TileStream(INDEX, tmp_path, config.network.input_side_px)[0]
        assert taught.shape == (side_px, side_px, 3)
        runtime.seen.clear()
        answer = client.post("/v1/classify", content=content)
        assert answer.status_code == 200, answer.text
        (seen,) = runtime.seen
        assert seen.dtype == taught.dtype
        np.testing.assert_array_equal(seen, taught[np.newaxis])
