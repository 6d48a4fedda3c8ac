"""A weights file is known by its SHA-256, never by its name."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.conftest import REPOSITORY
from training.networks import weights_files
from training.networks.registry import SYSTEMS
from training.networks.weights_files import WeightsFile, describe_origin, find_weights_file

KNOWN = hashlib.sha256(b"known").hexdigest()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    file = WeightsFile("made for a test", "MIT")
    monkeypatch.setitem(weights_files._FILES, KNOWN, file)


def test_find_weights_file_knows_nothing_about_another_file(known: None) -> None:
    del known
    assert find_weights_file(KNOWN).licence == "MIT"
    other = find_weights_file(hashlib.sha256(b"other").hexdigest())
    assert (other.origin, other.licence, other.has_licence) == ("origin unknown", "unknown", False)


def test_released_bundles_start_from_a_file_with_a_known_licence() -> None:
    manifests = sorted((REPOSITORY / "models").glob("*/*/manifest.json"))
    assert manifests
    for path in manifests:
        source = json.loads(path.read_text())["weights"]
        assert find_weights_file(source["sha256"]).licence == source["licence"]


@pytest.mark.parametrize(
    ("weights", "sha256", "says"),
    [
        ("none", "none", "random initial weights"),
        ("imagenet", "imagenet", "ImageNet, downloaded by Keras; CC BY 4.0"),
        ("vgg16.h5", KNOWN, "made for a test; MIT"),
        ("vgg16.h5", "0" * 64, "origin unknown; licence unknown"),
    ],
)
def test_describe_origin_names_origin_and_licence(
    known: None, weights: str, sha256: str, says: str
) -> None:
    del known
    assert describe_origin(weights, SYSTEMS["vgg16"], sha256) == says
