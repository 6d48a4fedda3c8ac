"""The image contains the newest released bundle."""

from __future__ import annotations

import re

from app.bundle import find_bundle
from tests.conftest import REPOSITORY


def test_image_contains_the_newest_bundle() -> None:
    named = re.search(r"^ARG BUNDLE=(.*)$", (REPOSITORY / "Dockerfile").read_text(), re.M)
    newest = find_bundle(REPOSITORY / "models", "osteo-mobilenetv2")
    assert named
    assert newest.relative_to(REPOSITORY / "models").as_posix() == named[1]
