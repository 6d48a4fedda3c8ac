"""Every system in the registry goes through the same fit and export as the released one."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.training.tiny_system import TINY
from training.config import TrainingConfig, read_config
from training.errors import ConfigError, WeightsError
from training.features.prepare import prepare_features
from training.fit.classifier import fit_classifier
from training.fit.oversampling import oversample
from training.networks import graphs
from training.networks.architecture import CAFFE, BuildBackbone, Scaling, System
from training.networks.graphs import (
    build_backbone,
    build_serving_model,
    require_weights,
    split_backbone,
)
from training.networks.registry import SYSTEMS, find_system
from training.networks.svm_head import as_head


@dataclass(frozen=True)
class Built:
    """A system and its untrained backbone, which takes up to ten seconds to build."""

    system: System
    backbone: Any

    @functools.cached_property
    def tile(self) -> Any:
        """Noise, uint8 `[1, side, side, 3]`."""
        shape = (1, *self.backbone.inputs[0].shape[1:])
        return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)

    @functools.cached_property
    def features(self) -> Any:
        """The tile's feature map, float32 `[1, h, w, E]`."""
        return self.backbone(self.system.scaling.apply(self.tile), training=False).numpy()


@functools.lru_cache(maxsize=1)
def untrained(build: BuildBackbone, side_px: int) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return build(side_px, None)


BY_SIZE = sorted(SYSTEMS.values(), key=lambda system: system.n_parameters)
"""The two systems with the same backbone follow each other, so it is built once."""
SAMPLED = ("ahmed-cnn", "alexnet", "mobilenetv2", "vgg16")
"""With and without a seam, and another scaling. The rest takes more than a minute."""


def one(system: System) -> Any:
    marks = () if system.name in SAMPLED else pytest.mark.exhaustive
    return pytest.param(system, marks=marks, id=system.name)


@pytest.fixture(scope="module", params=map(one, BY_SIZE))
def built(request: pytest.FixtureRequest) -> Built:
    """One system after the other: all tests of one run before the next is built."""
    return Built(request.param, untrained(request.param.build, request.param.side_px))


def config_of(path: Path, **network: object) -> TrainingConfig:
    """The tiny configuration with another network."""
    lines = "\n".join(f"{key} = {value!r}" for key, value in network.items())
    text = path.read_text().replace("[network]\n", f"[network]\n{lines}\n")
    text = text.replace('first_layer = "Conv_1"\n', "")
    path.write_text(text.replace("[fine_tune]\nepochs = 1", "[fine_tune]\nepochs = 0"))
    return read_config(path)


def test_find_system_lists_the_names_when_there_is_no_such_system() -> None:
    with pytest.raises(ValueError, match=r"no system 'mobilenet'.*mobilenetv2, resnet50v2"):
        find_system("mobilenet")


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"system": "resnet50"}, r"network\.system: there is no system 'resnet50': one of"),
        (
            {"system": "inceptionv3", "backbone.side_px": 64},
            r"network\.backbone: InceptionV3 needs.*75 px",
        ),
        ({"sistem": "vgg16"}, r"network\.sistem: there is no such key"),
    ],
)
def test_read_config_refuses_an_impossible_network(
    tiny_config: Path, network: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        config_of(tiny_config, **network)


def test_read_config_refuses_fine_tuning_when_the_system_has_no_second_phase(
    tiny_config: Path,
) -> None:
    text = tiny_config.read_text().replace("[network]\n", '[network]\nsystem = "alexnet"\n')
    tiny_config.write_text(text)
    with pytest.raises(ConfigError, match=r"fine_tune\.epochs must be 0: AlexNet"):
        read_config(tiny_config)


@pytest.mark.parametrize("name", ["alexnet", "inceptionv3-svm"])
def test_read_config_refuses_switches_that_would_do_nothing(tiny_config: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"network\.standardize must be 0.*has no head on"):
        config_of(tiny_config, system=name, standardize=0.1)


def test_input_side_px_defaults_to_the_side_of_the_system(tiny_config: Path) -> None:
    assert config_of(tiny_config, system="xception").network.input_side_px == 299
    assert config_of(tiny_config, **{"backbone.side_px": 224}).network.input_side_px == 224


def test_require_weights_refuses_imagenet_when_there_are_no_public_weights() -> None:
    with pytest.raises(WeightsError, match=r"no public weights for AlexNet.*'none'"):
        require_weights("imagenet", SYSTEMS["alexnet"])


def test_caffe_scaling_subtracts_the_channel_means_in_bgr_order() -> None:
    tile = np.array([[[123, 116, 103]]], dtype=np.uint8)
    np.testing.assert_allclose(CAFFE.apply(tile)[0, 0], [-0.939, -0.779, -0.68], atol=1e-4)


def test_oversample_shows_every_label_equally_often() -> None:
    tiles, labels = np.arange(10, 17), np.array([0, 0, 0, 0, 2, 2, 1])
    shown = oversample(tiles, labels, np.random.default_rng(0))
    assert set(shown) == set(tiles)
    assert np.bincount(labels[shown - 10]).tolist() == [4, 4, 4]
    assert (oversample(tiles[:4], labels[:4], np.random.default_rng(0)) == tiles[:4]).all()


@pytest.mark.tensorflow
def test_registry_describes_the_backbone_that_is_built(built: Built) -> None:
    side, size = built.system.map_side, built.system.embedding_size
    assert built.backbone.output_shape == (None, side, side, size)
    assert built.backbone.count_params() == built.system.n_parameters


@pytest.mark.tensorflow
def test_build_serving_model_keeps_the_contract_for_every_system(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, rng = built.system, np.random.default_rng(0)
    size, weights = system.embedding_size, built.backbone.get_weights()

    def build_again(*given: object) -> Any:
        """The same backbone with zeros for weights: another one takes up to ten seconds."""
        assert given == ("none", system, system.side_px)
        built.backbone.set_weights([np.zeros_like(weight) for weight in weights])
        return built.backbone

    monkeypatch.setattr(graphs, "build_backbone", build_again)
    # Small weights, so that a wrong scaling of the input shows.
    if system.head == "svm":
        head = as_head(rng.normal(0, 0.1, (size, 3)), rng.normal(0, 1, 3))
    else:
        shapes = ((size, 8), (8,), (8, 3), (3,))
        head = [rng.normal(0, 0.1, shape).astype(np.float32) for shape in shapes]
    features = built.features
    model = build_serving_model(weights, head, system=system)
    answer = {name: value.numpy() for name, value in model(built.tile).items()}
    assert answer["cam"].shape == (1, system.map_side, system.map_side, 3)
    assert answer["embedding"].shape == (1, size)
    np.testing.assert_allclose(
        answer["embedding"], features.mean(axis=(1, 2)), atol=1e-4 * np.abs(features).max()
    )


@pytest.mark.tensorflow
def test_split_backbone_keeps_the_feature_map_of_every_system(built: Built) -> None:
    system = built.system
    assert (system.seam is None) == (system.head == "svm" or not system.is_pretrained)
    if system.seam is None:
        return  # nothing is fine-tuned, so nothing is split
    scaled, expected = system.scaling.apply(built.tile), built.features
    parts = split_backbone(built.backbone, system.seam)
    assert parts.trainable.trainable_variables
    joined = parts.trainable(parts.frozen(scaled, training=False), training=False).numpy()
    np.testing.assert_allclose(joined, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.tensorflow
@pytest.mark.parametrize("scaling", {s.scaling: s.name for s in SYSTEMS.values()})
def test_scaling_graph_equals_scaling_apply(scaling: Scaling) -> None:
    import keras

    tiles = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    graph = keras.Model(inputs, scaling.graph(inputs))
    np.testing.assert_allclose(graph(tiles), scaling.apply(tiles), atol=1e-4)


@pytest.mark.tensorflow
@pytest.mark.real_tiles
@pytest.mark.parametrize(
    "system",
    [
        SYSTEMS["vgg16"],
        pytest.param(SYSTEMS["resnet50v2"], marks=pytest.mark.exhaustive),
        pytest.param(SYSTEMS["xception"], marks=pytest.mark.exhaustive),
    ],
    ids=lambda s: s.name,
)
def test_build_backbone_refuses_the_weights_of_the_released_network(
    system: System, real_weights: str
) -> None:
    with pytest.raises(WeightsError, match="does not hold"):
        build_backbone(real_weights, system, max(system.min_side_px, 96))


@pytest.mark.tensorflow
@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("name", ["alexnet", "tiny-svm"])
def test_fit_is_reproducible(name: str, tiny_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_svm = replace(TINY, name="tiny-svm", seam=None, head="svm")
    monkeypatch.setitem(SYSTEMS, tiny_svm.name, tiny_svm)
    side_px = max(SYSTEMS[name].min_side_px, 64)
    config = config_of(tiny_config, **{"system": name, "backbone.side_px": side_px})
    tiles, truth = three_colours(side_px)
    features = prepare_features(tiles, truth, config)
    train, test = np.arange(9), np.arange(9, 12)
    one, other = (fit_classifier(features, config, train, test, seed=3) for _ in range(2))
    np.testing.assert_allclose(one.test_logits, other.test_logits, atol=1e-5)
    assert one.test_logits.shape == (3, 3)
    assert np.isfinite(one.test_logits).all()
    assert [weights.shape for weights in one.head_weights][2][1] == 3


@pytest.mark.tensorflow
def test_compact_cnn_learns_from_scratch(tiny_config: Path) -> None:
    config = config_of(tiny_config, **{"system": "ahmed-cnn", "backbone.side_px": 32})
    head = config.head.model_copy(update={"epochs": 25, "learning_rate": 3e-3, "averaging": 0.0})
    tiles, truth = three_colours(32, 30)
    config = config.model_copy(update={"head": head})
    features = prepare_features(tiles, truth, config)
    fitted = fit_classifier(features, config, np.arange(18), np.arange(18, 30), seed=0)
    assert {record.phase for record in fitted.history} == {"whole"}
    assert (fitted.test_logits.argmax(axis=1) == truth[18:]).mean() >= 11 / 12


def three_colours(side_px: int, n_tiles: int = 12) -> tuple[Any, Any]:
    """Noisy tiles of three colours, one per label, and the labels."""
    rng = np.random.default_rng(0)
    truth = np.arange(n_tiles) % 3
    colours = np.array([[230, 220, 230], [220, 120, 160], [90, 60, 140]])
    noise = rng.normal(0, 20, (n_tiles, side_px, side_px, 3))
    tiles = np.clip(colours[truth][:, None, None] + noise, 0, 255).astype(np.uint8)
    return tiles, truth


def test_systems_page_lists_every_system() -> None:
    page = (REPOSITORY / "docs" / "systems.md").read_text()
    for name in SYSTEMS:
        assert f"`{name}`" in page, name
