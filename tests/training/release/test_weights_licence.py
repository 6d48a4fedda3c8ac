"""What is known of initial weights; test_logistic_release.py shows where a bundle says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.networks import weights_files
from training.networks.architecture import System
from training.networks.graphs import weights_sha256
from training.networks.registry import SYSTEMS
from training.networks.weights_files import WeightsFile
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
