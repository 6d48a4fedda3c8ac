from __future__ import annotations

import itertools
from pathlib import Path

from app.cli.doctor import Finding, examine
from app.core.manifest import MANIFEST_NAME, sha256_of_file
from app.settings import Settings
from tests.bundles import MODEL_NAME


def findings(settings: Settings) -> dict[str, Finding]:
    """What `osteo doctor` finds before it opens a runtime."""
    before = itertools.takewhile(
        lambda found: not found.what.startswith("litert"), examine(settings)
    )
    return {found.what: found for found in before}


def test_doctor_says_what_an_older_bundle_cannot_check(models_dir: Path) -> None:
    found = findings(Settings(models_dir=models_dir))
    assert found["bundle"].is_ok
    assert "labels and the temperature were not compared" in found["golden answers"].detail


def test_doctor_names_both_values_of_another_bundle(models_dir: Path) -> None:
    sha256 = sha256_of_file(models_dir / MODEL_NAME / "1" / MANIFEST_NAME)
    found = findings(Settings(models_dir=models_dir, bundle_sha256="a" * 64))
    assert found["bundle"].is_ok is False
    assert sha256 in found["bundle"].detail
    assert "a" * 64 in found["bundle"].detail


def test_doctor_names_the_models_folder(tmp_path: Path) -> None:
    found = findings(Settings(models_dir=tmp_path))
    assert found["models folder"].detail == str(tmp_path)
    assert found["bundle"].is_ok is False
