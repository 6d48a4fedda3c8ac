"""The golden record of a new bundle covers what users read, also after a recalibration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.bundle import Bundle, open_bundle, read_golden_record, unchecked_parts
from app.core.bundle_errors import ManifestError
from app.core.calibration import probabilities_from_logits
from app.core.manifest import GOLDEN_NAME, sha256_of_file
from tests.bundle.sealing import seal
from tests.bundles import LABELS, build_bundle
from training.release.golden_tiles import renew_golden_record


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(build_bundle(tmp_path / "models"))


def renewed(bundle: Bundle, temperature: float) -> Bundle:
    """The next version, which differs only in its temperature and golden record."""
    draft = bundle.path.with_name(str(int(bundle.path.name) + 1))
    shutil.copytree(bundle.path, draft)
    renew_golden_record(bundle, draft, temperature)
    seal(draft, temperature=temperature)
    return open_bundle(draft)


def test_renewed_record_has_labels_and_calibrated_probabilities(bundle: Bundle) -> None:
    before = read_golden_record(bundle)
    after = read_golden_record(renewed(bundle, 3.0))
    assert (after.logits, after.labels) == (before.logits, LABELS)
    expected = probabilities_from_logits([before.logits["pink.png"]], 3.0)[0]
    assert after.probabilities is not None
    assert list(after.probabilities["pink.png"].values()) == pytest.approx(expected.tolist())
    assert list(after.probabilities["pink.png"]) == [label.id for label in LABELS]


def test_renewed_record_follows_each_temperature(bundle: Bundle) -> None:
    second = renewed(bundle, 3.0)
    third = renewed(second, 4.0)
    assert unchecked_parts(bundle) is not None
    assert unchecked_parts(second) is unchecked_parts(third) is None
    names = [f"{GOLDEN_NAME}/pink.png", "model.tflite"]
    for name in names:
        assert sha256_of_file(bundle.path / name) == sha256_of_file(third.path / name)


def test_damaged_record_is_not_renewed(bundle: Bundle, tmp_path: Path) -> None:
    damaged = Bundle(bundle.path, bundle.manifest, bundle.sha256, {"expected.json": b"{"})
    with pytest.raises(ManifestError):
        renew_golden_record(damaged, tmp_path, 2.0)
