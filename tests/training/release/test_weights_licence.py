"""A bundle that starts from weights without a known licence says so, everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.bundle import open_bundle
from tests.training.release.test_system_bundles import NO_HASH, run_of, weights_of
from training.config import read_config
from training.data.index import Index
from training.data.labelled_tiles import LabelledTiles
from training.data.tiles import TileStream
from training.networks import weights_files
from training.networks.architecture import System
from training.networks.graphs import weights_sha256
from training.networks.registry import SYSTEMS
from training.networks.weights_files import WeightsFile
from training.release.assembly import assemble_bundle
from training.release.provenance import describe_weights, licence_warning


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    """Named like the file that the released models start from, with another content."""
    path = tmp_path / "mobilenet_v2_1.0_224_imagenet_no_top.weights.h5"
    path.write_bytes(b"weights")
    return path


def system() -> System:
    return SYSTEMS["vgg16"]


def test_describe_weights_claims_no_licence_for_an_unknown_file(weights_file: Path) -> None:
    source = describe_weights(str(weights_file), system())
    assert source.name == f"VGG16, origin unknown ({weights_file.name})"
    assert source.licence == "unknown"
    assert source.sha256 == weights_sha256(str(weights_file))
    warning = licence_warning(source)
    assert warning is not None
    assert str(source.sha256) in warning


def test_describe_weights_names_the_licence_of_a_known_file(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = weights_sha256(str(weights_file))
    assert sha256 is not None
    monkeypatch.setitem(weights_files._FILES, sha256, WeightsFile("known", "CC BY 4.0"))
    source = describe_weights(str(weights_file), system())
    assert source.name == f"VGG16, ImageNet ({weights_file.name})"
    assert (source.licence, source.sha256) == ("CC BY 4.0", sha256)
    assert licence_warning(source) is None


@pytest.mark.parametrize(("weights", "licence"), [("none", "none needed"), ("imagenet", None)])
def test_describe_weights_needs_no_file(weights: str, licence: str | None) -> None:
    source = describe_weights(weights, system())
    assert source.licence == licence or system().licence
    assert source.sha256 is None
    assert licence_warning(source) is None


@pytest.mark.tensorflow
def test_a_bundle_from_unknown_weights_says_so_in_manifest_card_and_warning(
    weights_file: Path,
    tiny_config: Path,
    tmp_path: Path,
    drawn_index: Index,
    drawn_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = tiny_config.read_text().replace('first_layer = "Conv_1"\n', "")
    text = text.replace("[network]\n", '[network]\nsystem = "tiny"\n')
    tiny_config.write_text(text.replace("[fine_tune]\nepochs = 1", "[fine_tune]\nepochs = 0"))
    config = read_config(tiny_config, str(weights_file))
    path = tmp_path / "models" / config.model_name / config.model_version
    tiles = TileStream(drawn_index, drawn_dir, config.network.input_side_px)
    labelled = LabelledTiles(drawn_index, NO_HASH, drawn_dir, tiles)
    weights = weights_of(config.network.entry, config.network.input_side_px)
    assemble_bundle(path, labelled, weights, [run_of(config, drawn_index)], config)

    manifest = open_bundle(path).manifest
    sha256 = weights_sha256(str(weights_file))
    assert manifest.weights.sha256 == sha256
    assert "origin unknown" in manifest.weights.name
    assert manifest.weights.licence == "unknown"
    card = (path / "model-card.md").read_text()
    assert 'license: "unknown"' in card
    assert "Licence unknown." in card
    assert f"`{sha256}`" in card
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: The licence of the initial weights is unknown" in said
