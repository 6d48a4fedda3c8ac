"""Every system of a study has its own weights: networks of which none is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.manifest import sha256_of_file
from tests.training.experiments.study.conftest import TINY_STUDY
from training.data.index import Index
from training.errors import WeightsError
from training.experiments.study.config import StudyConfig, read_study
from training.experiments.study.planning import assess, require_ready
from training.experiments.study.study import Study, StudyFolders
from training.networks.graphs import build_backbone
from training.networks.registry import SYSTEMS
from training.storage.frozen_model import write_json

pytestmark = [
    pytest.mark.tensorflow,
    # Keras 3.15 saves through an `__array__` call that NumPy 2 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SIDE_PX: Final = 32
NAMES: Final = ("mobilenetv2", "vgg16")


def _small(width: int) -> Callable[[int, str | None], Any]:
    """A network that is built in a fraction of the time of those of the paper."""

    def build(side_px: int, weights: str | None) -> Any:
        from keras import Input, Model, layers

        tiles = Input((side_px, side_px, 3))
        network = Model(tiles, layers.Conv2D(width, 3, strides=8)(tiles))
        if weights is not None:
            network.load_weights(weights)
        return network

    return build


@pytest.fixture(
    scope="module",
    autouse=True,
    params=["small", pytest.param("real", marks=pytest.mark.exhaustive)],
)
def _networks(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for width, name in enumerate(NAMES if request.param == "small" else (), 4):
            small = replace(SYSTEMS[name], build=_small(width), embedding_size=width)
            patch.setitem(SYSTEMS, name, small)
        yield


@pytest.fixture(scope="module")
def tile() -> NDArray[np.uint8]:
    shape = (1, SIDE_PX, SIDE_PX, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@dataclass(frozen=True)
class Saved:
    """Untrained weights by system; each network was drawn from another seed.

    Attributes:
        files: that hold the weights.
        features: means of the feature maps of `tile`.
    """

    files: dict[str, str]
    features: dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def saved(
    _networks: None, tile: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> Saved:
    import keras

    folder = tmp_path_factory.mktemp("weights")
    files, features = {}, {}
    for seed, name in enumerate(NAMES):
        keras.utils.set_random_seed(100 + seed)
        path = folder / f"{name}.weights.h5"
        system = SYSTEMS[name]
        backbone = build_backbone("none", system, SIDE_PX)
        backbone.save_weights(path)
        files[name] = str(path)
        maps = backbone(system.scaling.apply(tile), training=False).numpy()
        features[name] = maps.mean(axis=(1, 2))
    return Saved(files, features)


@pytest.fixture
def files(saved: Saved) -> dict[str, str]:
    return saved.files


@pytest.fixture
def config(study_file: Path) -> StudyConfig:
    both = f'[systems.vgg16]\nweights = "none"\nside_px = {SIDE_PX}\n\n[head]'
    text = TINY_STUDY.replace("[head]", both, 1).replace("side_px = 64", f"side_px = {SIDE_PX}")
    text = text.replace('systems = ["mobilenetv2"]', 'systems = ["mobilenetv2", "vgg16"]', 1)
    study_file.write_text(text)
    return read_study(study_file)


def study_of(config: StudyConfig, index: Index, data_dir: Path, tmp_path: Path) -> Study:
    sha256 = write_json(tmp_path / "index.json", index)
    return Study(config, index, sha256, StudyFolders(data_dir, tmp_path / "c", tmp_path / "out"))


@pytest.mark.usefixtures("eagerly")
def test_study_reads_each_systems_features_with_its_own_weights(
    saved: Saved,
    tile: NDArray[np.uint8],
    config: StudyConfig,
    drawn_index: Index,
    drawn_dir: Path,
    tmp_path: Path,
) -> None:
    files = saved.files
    study = study_of(config.with_weights(files), drawn_index, drawn_dir, tmp_path)
    assert study.weights == {name: sha256_of_file(Path(path)) for name, path in files.items()}
    for name in NAMES:
        network = next(run.spec.network for run in study.figure_3 if run.system == name)
        pooled = study.source.open_backbone(network)(tile)
        np.testing.assert_allclose(pooled, saved.features[name], rtol=1e-4, atol=1e-5)


def test_study_names_the_system_whose_file_holds_another_network(
    files: dict[str, str],
    config: StudyConfig,
    drawn_index: Index,
    drawn_dir: Path,
    tmp_path: Path,
) -> None:
    swapped = config.with_weights({"vgg16": files["mobilenetv2"]})
    study = study_of(swapped, drawn_index, drawn_dir, tmp_path)
    advice = r"does not hold VGG16 weights.*--weights vgg16=FILE.*--not-run vgg16=REASON"
    with pytest.raises(WeightsError, match=advice):
        require_ready(study, assess(study, lambda _: None))
