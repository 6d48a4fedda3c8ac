from __future__ import annotations

from pathlib import Path

import pytest

from app.runtime import cores


@pytest.fixture
def affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)


@pytest.mark.usefixtures("affinity")
@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1)],
)
def test_cgroup_quota_lowers_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpu_max: str, expected: int
) -> None:
    (tmp_path / "cpu.max").write_text(cpu_max)
    monkeypatch.setattr(cores, "_CGROUP_V2", tmp_path / "cpu.max")
    assert cores.usable_cores() == expected


@pytest.mark.usefixtures("affinity")
@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3)])
def test_old_cgroup_quota_lowers_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    (tmp_path / "quota").write_text(quota)
    (tmp_path / "period").write_text("100000")
    monkeypatch.setattr(cores, "_CGROUP_V2", tmp_path / "absent")
    monkeypatch.setattr(cores, "_CGROUP_V1_QUOTA", tmp_path / "quota")
    monkeypatch.setattr(cores, "_CGROUP_V1_PERIOD", tmp_path / "period")
    assert cores.usable_cores() == expected


@pytest.mark.usefixtures("affinity")
def test_cores_are_not_limited_without_a_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_CGROUP_V2", "_CGROUP_V1_QUOTA"):
        monkeypatch.setattr(cores, name, tmp_path / "absent")
    assert cores.usable_cores() == 8
