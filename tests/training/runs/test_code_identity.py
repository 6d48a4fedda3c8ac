"""The identity of a run changes with its numbers, not with its documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from training.runs import code_identity
from training.runs.code_identity import code_sha256, deciding_code, deciding_modules

SOURCE = '''"""A module."""
from pydantic import Field

RATE = 0.5
"""A constant."""


class Config:
    """A class."""

    rate: float = Field(default=RATE, description="A setting.")


def scale(x: float) -> float:
    """A function."""
    if x < 0:
        raise ValueError("x is negative")
    return x * RATE  # a comment
'''


@pytest.fixture(autouse=True)
def _no_cached_hash() -> Iterator[None]:
    code_sha256.cache_clear()
    yield
    code_sha256.cache_clear()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A module.", "Another text."),
        ("A constant.", "Another text."),
        ("A class.", "Another text."),
        ("A function.", "Another text.\n\n    And more.\n    "),
        ('    """A function."""\n', ""),
        ("A setting.", "Another text."),
        ("x is negative", "x must not be negative"),
        ("# a comment", "# another comment"),
        ("RATE = 0.5", "\n\nRATE   =   0.5"),
    ],
)
def test_deciding_code_ignores_texts_comments_and_layout(old: str, new: str) -> None:
    assert old in SOURCE
    assert deciding_code(SOURCE.replace(old, new)) == deciding_code(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("RATE = 0.5", "RATE = 0.25"), ("x * RATE", "x + RATE"), ("x < 0", "x <= 0")],
)
def test_deciding_code_changes_with_a_number_or_an_operator(old: str, new: str) -> None:
    assert old in SOURCE
    assert deciding_code(SOURCE.replace(old, new)) != deciding_code(SOURCE)


def test_deciding_modules_are_those_that_a_cross_validation_imports() -> None:
    names = set(deciding_modules())
    assert names >= {
        "app.core.tile",
        "training.augmentation.stain_jitter",
        "training.data.splits",
        "training.data.tiles",
        "training.features.extract",
        "training.features.reference_tiles",
        "training.fit.classifier",
        "training.fit.loss",
        "training.networks.pretrained",
        "training.networks.svm_head",
        "training.runs.cross_validation",
    }
    packages = {name.split(".")[1] for name in names if name.startswith("training.")}
    assert packages.isdisjoint(
        {"commands", "console", "evaluation", "experiments", "gan", "release", "reliability"}
    )
    assert not any(name.startswith(("app.api", "app.serving", "app.cli")) for name in names)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ('"""The loss of every phase."""', '"""What training minimises."""', False),
        ("    targets = targets", "    # Smoothed.\n    targets = targets", False),
        ("1.0 - label_smoothing", "0.5 - label_smoothing", True),
    ],
)
def test_code_sha256_changes_with_the_numbers_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, changes: bool
) -> None:
    modules = deciding_modules()
    source = modules["training.fit.loss"].read_text()
    assert old in source
    edited = tmp_path / "loss.py"
    edited.write_text(source.replace(old, new))
    few = {name: modules[name] for name in ("training.data.splits", "training.fit.loss")}
    hashes = set()
    for chosen in (few, few | {"training.fit.loss": edited}):
        monkeypatch.setattr(code_identity, "deciding_modules", lambda chosen=chosen: chosen)
        code_sha256.cache_clear()
        hashes.add(code_sha256())
    assert (len(hashes) == 2) is changes
