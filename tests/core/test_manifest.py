from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from app.core.bundle_errors import ManifestError
from app.core.manifest import TEMPERATURE_RANGE, read_manifest, sha256_of_file, write_manifest
from tests.bundles import manifest_of
from tests.conftest import RELEASED_MODELS
from training.evaluation import calibration


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


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BROKEN: dict[str, tuple[bytes, bytes]] = {
    "deep": (b'"training": {}', b'"training": ' + DEEP),
    "deep list": (b'"training": {}', b'"training": {"a": ' + b"[" * 40 + b"]" * 40 + b"}"),
    "NaN temperature": (b'"temperature": 2.0', b'"temperature": NaN'),
    "infinite temperature": (b'"temperature": 2.0', b'"temperature": Infinity'),
    "overflowing temperature": (b'"temperature": 2.0', b'"temperature": 1e999'),
    "tiny temperature": (b'"temperature": 2.0', b'"temperature": 1e-6'),
    "NaN in training": (b'"training": {}', b'"training": {"a": NaN}'),
    "overflow in training": (b'"training": {}', b'"training": {"a": 1e999}'),
    "huge integer": (b'"training": {}', b'"training": {"a": 1' + b"0" * 4000 + b"}"),
    "endless integer": (b'"training": {}', b'"training": {"a": 1' + b"0" * 10**6 + b"}"),
    "huge side": (b'"side_px": 224', b'"side_px": 1000000000'),
    "version of 300 digits": (b'"model_version": "1"', b'"model_version": "' + b"9" * 300 + b'"'),
    "version with a line break": (b'"model_version": "1"', b'"model_version": "1\\n"'),
    "lone surrogate": (b'"intended_use": "tests"', b'"intended_use": "\\ud800"'),
    "wrong UTF-8": (b'"intended_use": "tests"', b'"intended_use": "\xff\xfe"'),
    "long field": (b'"training": {}', b'"training": {}, "' + b"x" * 10**6 + b'": 1'),
    "date out of range": (b'"created": "2026-01-01T00:00:00Z"', b'"created": 1e300'),
}


@pytest.mark.parametrize(("before", "after"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_manifest_is_one_short_error(tmp_path: Path, before: bytes, after: bytes) -> None:
    file = tmp_path / "manifest.json"
    write_manifest(file, manifest_of(tmp_path))
    content = file.read_bytes()
    assert before in content
    file.write_bytes(content.replace(before, after))
    with pytest.raises(ManifestError) as raised:
        read_manifest(file)
    assert len(str(raised.value)) < 700


def test_hundred_thousand_labels_are_rejected(tmp_path: Path) -> None:
    document = manifest_of(tmp_path).model_dump(mode="json") | {"labels": "LABELS"}
    labels = ",".join(['{"id":"a","name":"b","is_tumor":true}'] * 10**5)
    content = json.dumps(document).replace('"LABELS"', f"[{labels}]")
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ManifestError, match="labels must have at most 1000 items"):
        read_manifest(tmp_path / "manifest.json")


def test_enormous_manifest_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as stream:
        stream.truncate(200 * 1024**3)  # sparse, so it takes no disk space
    with pytest.raises(ManifestError, match="more than 67108864 bytes"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("version", ["1", "2", "3", "4"])
def test_released_manifest_with_exchanged_labels_is_rejected(tmp_path: Path, version: str) -> None:
    released = RELEASED_MODELS / "osteo-mobilenetv2" / version / "manifest.json"
    document = json.loads(released.read_text())
    labels = document["labels"]
    labels[0], labels[2] = labels[2], labels[0]
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="labels are viable_tumor"):
        read_manifest(tmp_path / "manifest.json")


def test_manifest_accepts_every_temperature_that_training_fits() -> None:
    assert TEMPERATURE_RANGE == calibration.TEMPERATURE_RANGE
