from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import ManifestError
from app.core.manifest import read_manifest, sha256_of_file, write_manifest
from tests.bundles import manifest_of


def test_manifest_round_trips_through_its_file(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    written_sha256 = write_manifest(tmp_path / "manifest.json", manifest)
    read, sha256 = read_manifest(tmp_path / "manifest.json")
    assert read == manifest
    assert sha256 == written_sha256 == sha256_of_file(tmp_path / "manifest.json")


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"tile")
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"tile").hexdigest()


def test_labels_keep_their_order(tmp_path: Path) -> None:
    assert manifest_of(tmp_path).label_ids == ("non_tumor", "non_viable_tumor", "viable_tumor")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema_version": 2}, "schema_version must be 1"),
        ({"temperature": 0}, "temperature must be at least 0.05"),
        ({"surprise": 1}, "surprise is not a known field"),
        ({"model_version": "v1"}, "model_version must match the pattern"),
        ({"labels": []}, "labels must have at least 2 items"),
    ],
)
def test_schema_violation_is_reported_with_its_key(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    document = manifest_of(tmp_path).model_dump(mode="json") | change
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ManifestError, match=named):
        read_manifest(tmp_path / "manifest.json")


def test_equal_labels_are_rejected(tmp_path: Path) -> None:
    document = manifest_of(tmp_path).model_dump(mode="json")
    document["labels"][1]["id"] = document["labels"][0]["id"]
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="label ids must differ"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_file_that_is_not_a_manifest_is_rejected(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "manifest.json")


def test_missing_manifest_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "manifest.json")
