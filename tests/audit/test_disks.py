"""Tests on a small disk are not left out in CI without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.disks import mounted_disk


@pytest.fixture(autouse=True)
def _no_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `mount` that mounts nothing."""
    program = tmp_path / "mount"
    program.write_text("#!/bin/sh\necho permission denied >&2\nexit 32\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("REQUIRE_CLIENT_TOOLS", raising=False)


@pytest.mark.parametrize(
    ("required", "user", "outcome"),
    [
        ("1", 0, pytest.fail.Exception),
        ("1", 1000, pytest.skip.Exception),
        ("", 0, pytest.skip.Exception),
    ],
)
def test_mounted_disk_fails_in_ci_as_root_and_skips_elsewhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    required: str,
    user: int,
    outcome: type[BaseException],
) -> None:
    monkeypatch.setenv("REQUIRE_CLIENT_TOOLS", required)
    monkeypatch.setattr("os.geteuid", lambda: user)
    with (
        # Both are caught: a skip that went on would only leave out this test.
        pytest.raises((pytest.fail.Exception, pytest.skip.Exception), match="denied") as raised,
        mounted_disk(tmp_path / "disk"),
    ):
        pass
    assert raised.type is outcome
