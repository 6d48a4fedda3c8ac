from __future__ import annotations

from pathlib import Path

import pytest

from app.bundle import find_bundle, list_versions
from app.core.bundle_errors import BundleNotFoundError
from tests.bundles import MODEL_NAME, build_bundle


def test_newest_version_is_found_by_number(tmp_path: Path) -> None:
    for version in ("1", "9", "10"):
        build_bundle(tmp_path, version)
    (tmp_path / MODEL_NAME / ".11").mkdir()
    assert find_bundle(tmp_path, MODEL_NAME).name == "10"
    assert find_bundle(tmp_path, MODEL_NAME, "9").name == "9"


def test_missing_model_or_version_is_named(models_dir: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="other"):
        find_bundle(models_dir, "other")
    with pytest.raises(BundleNotFoundError, match="7"):
        find_bundle(models_dir, MODEL_NAME, "7")


@pytest.mark.parametrize("version", ["9" * 300, "9" * 10, "../1", "1\n", "", "1/../1", "\0"])
def test_version_that_cannot_exist_is_not_found(models_dir: Path, version: str) -> None:
    with pytest.raises(BundleNotFoundError) as raised:
        find_bundle(models_dir, MODEL_NAME, version)
    assert str(models_dir) not in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("name", ["9" * 200, "01", "1.0", "२", "1 "])
def test_other_folders_are_not_listed(models_dir: Path, name: str) -> None:
    (models_dir / MODEL_NAME / name).mkdir()
    (models_dir / MODEL_NAME / "3").write_text("a file")
    assert list_versions(models_dir, MODEL_NAME) == ["1"]


@pytest.mark.parametrize("model_name", ["other", "x" * 300, "a\0b"])
def test_model_that_cannot_exist_has_no_versions(models_dir: Path, model_name: str) -> None:
    assert list_versions(models_dir, model_name) == []
