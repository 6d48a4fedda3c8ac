"""The texture layer: equal to the reference in Keras and in the service's LiteRT runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.tile import decode_tile
from app.runtime.litert import LiteRtRuntime
from training.data.drawn_tiles import draw_tile
from training.features.haralick import haralick_measures
from training.networks.texture_definition import MEASURES, PREPARATIONS, STEPS
from training.release.export import _export_saved_model
from training.release.quantize import lite_converter

pytestmark = pytest.mark.tensorflow

Tiles = NDArray[np.uint8]
SIDE_PX = 150
"""It is no multiple of the layer's strips."""


def drawn_tiles(side_px: int) -> Tiles:
    labels = ("non_tumor", "non_viable_tumor", "viable_tumor")
    return np.stack([draw_tile(label, side_px, seed) for seed, label in enumerate(labels)])


def references(tiles: Tiles, offset: int | None = None) -> NDArray[np.float64]:
    """`[B, 104]`: both preparations of each tile."""
    return np.stack(
        [
            np.concatenate([haralick_measures(tile, kind, offset) for kind in PREPARATIONS])
            for tile in tiles
        ]
    )


def graph_of(side_px: int) -> Any:
    """A model with the outputs of a bundle, so that the service's runtime takes it."""
    import keras

    from training.networks.texture import Texture

    tiles = keras.Input((side_px, side_px, 3), dtype="uint8", name="tiles")
    measures = Texture()(tiles)
    logits = keras.layers.Identity(name="logits")(measures[:, :3])
    cam = keras.layers.Reshape((2, 52, 1), name="cam")(measures)
    return keras.Model(tiles, {"logits": logits, "embedding": measures, "cam": cam})


@pytest.fixture(scope="module")
def litert_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texture")
    _export_saved_model(graph_of(SIDE_PX), folder / "saved_model", batch_size=1)
    file = folder / "model.tflite"
    file.write_bytes(lite_converter(folder / "saved_model").convert())
    return file


@pytest.mark.parametrize("offset", [None, 1, 3])
def test_texture_equals_the_reference(offset: int | None) -> None:
    from training.networks.texture import Texture

    tiles = drawn_tiles(SIDE_PX)
    found = Texture(offset=offset)(tiles).numpy()
    np.testing.assert_allclose(found, references(tiles, offset), rtol=1e-4, atol=1e-5)


def test_texture_computes_only_the_preparations_that_are_asked_for() -> None:
    from training.networks.texture import Texture

    tiles = drawn_tiles(64)
    found = Texture(["thresholded"])(tiles).numpy()
    np.testing.assert_allclose(found, references(tiles)[:, 52:], rtol=1e-4, atol=1e-5)


def test_texture_is_the_same_for_a_tile_alone_and_in_a_batch() -> None:
    from training.networks.texture import Texture

    tiles, layer = drawn_tiles(64), Texture()
    alone = np.concatenate([layer(tile[None]).numpy() for tile in tiles])
    np.testing.assert_allclose(layer(tiles).numpy(), alone, rtol=1e-5, atol=1e-6)


def test_texture_has_the_shape_that_it_announces_and_a_complete_configuration() -> None:
    import keras

    from training.networks.texture import Texture

    layer = Texture(["plain"], offset=2, name="plain_texture")
    again = Texture.from_config(layer.get_config())
    assert (again.preparations, again.offset, again.name) == (("plain",), 2, "plain_texture")
    assert again(keras.Input((64, 64, 3), dtype="uint8")).shape == (None, 52)
    assert layer.compute_output_shape((None, 64, 64, 3)) == (None, 52)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_texture_is_defined_when_the_tile_has_one_colour(value: int) -> None:
    from training.networks.texture import Texture

    tiles = np.full((1, 64, 64, 3), value, dtype=np.uint8)
    found = Texture()(tiles).numpy().reshape(len(PREPARATIONS), len(MEASURES), len(STEPS))
    defined = {"AngularSecondMoment": 1.0, "InverseDifferenceMoment": 1.0, "SumAverage": 2.0}
    for position, measure in enumerate(MEASURES):
        np.testing.assert_allclose(found[:, position], defined.get(measure, 0.0), atol=1e-6)


def test_texture_is_defined_when_a_corner_alone_differs() -> None:
    """The corner is no first pixel of a pair in three directions: their variance is 0."""
    from training.networks.texture import Texture

    tile = np.full((64, 64, 3), 255, dtype=np.uint8)
    tile[-1, -1] = 0
    found = Texture()(tile[None]).numpy()
    np.testing.assert_allclose(found, references(tile[None]), rtol=1e-4, atol=1e-5)


def test_texture_in_litert_equals_the_reference(litert_file: Path) -> None:
    flat = np.full((1, SIDE_PX, SIDE_PX, 3), 255, dtype=np.uint8)
    tiles = np.concatenate([drawn_tiles(SIDE_PX), flat])
    runtime = LiteRtRuntime(litert_file, n_workers=1)
    found = runtime.infer(tiles).embedding
    runtime.close()
    np.testing.assert_allclose(found, references(tiles), rtol=1e-4, atol=1e-5)


def test_texture_needs_no_operation_that_litert_lacks(litert_file: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(litert_file), num_threads=1)
    names = {operation["op_name"] for operation in interpreter._get_ops_details()}
    assert "BATCH_MATMUL" in names
    assert not {name for name in names if name.startswith(("Flex", "CUSTOM"))}


@pytest.mark.real_tiles
def test_texture_of_a_real_tile_equals_the_reference(real_dir: Path) -> None:
    from training.networks.texture import Texture

    file = real_dir / "Training-Set-1/set1/Case-48-P5-C20-51615-14123.jpg"
    tiles = decode_tile(file.read_bytes(), side_px=224)[None]
    found = Texture()(tiles).numpy()
    np.testing.assert_allclose(found, references(tiles), rtol=1e-4, atol=1e-5)
