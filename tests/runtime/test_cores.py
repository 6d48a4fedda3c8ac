"""The number of usable cores, read from made-up trees of cgroups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from app.runtime import cores


@pytest.fixture(autouse=True)
def affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)


class Machine:
    """Writes what the kernel would show below /proc/self and /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.proc = root / "proc"
        self.proc.mkdir()

    def show(self, groups: str, *mounts: tuple[str, str, str]) -> None:
        """Each mount is the root of its file system, its folder, and its type with options."""
        (self.proc / "cgroup").write_text(groups)
        lines = [
            f"31 23 0:28 {root} {self._root}{folder} rw,relatime shared:9 - {kind}\n"
            for root, folder, kind in mounts
        ]
        (self.proc / "mountinfo").write_text(
            "23 1 0:20 / / rw - ext4 /dev/vda rw\n" + "".join(lines)
        )

    def limit(self, folder: str, files: Mapping[str, str]) -> None:
        group = Path(f"{self._root}{folder}")
        group.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (group / name).write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(cores, "_PROC", machine.proc)
    return machine


V2 = ("/", "/sys/fs/cgroup", "cgroup2 cgroup2 rw")
V1 = ("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup cgroup rw,cpu,cpuacct")


def old_quota(quota: str) -> dict[str, str]:
    return {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1)],
)
def test_cgroup_quota_lowers_the_count(machine: Machine, cpu_max: str, expected: int) -> None:
    machine.show("0::/\n", V2)
    machine.limit("/sys/fs/cgroup", {"cpu.max": f"{cpu_max}\n"})
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3)])
def test_old_cgroup_quota_lowers_the_count(machine: Machine, quota: str, expected: int) -> None:
    machine.show("4:cpu,cpuacct:/\n0::/\n", V1)
    machine.limit("/sys/fs/cgroup/cpu,cpuacct", old_quota(quota))
    assert cores.usable_cores() == expected


def test_quota_of_a_nested_group_counts(machine: Machine) -> None:
    machine.show("0::/system.slice/osteo.service\n", V2)
    machine.limit("/sys/fs/cgroup/system.slice/osteo.service", {"cpu.max": "300000 100000"})
    assert cores.usable_cores() == 3


def test_smallest_quota_on_the_way_up_counts(machine: Machine) -> None:
    machine.show("0::/kubepods/pod7/container\n", V2)
    machine.limit("/sys/fs/cgroup/kubepods/pod7/container", {"cpu.max": "600000 100000"})
    machine.limit("/sys/fs/cgroup/kubepods/pod7", {"cpu.max": "200000 100000"})
    machine.limit("/sys/fs/cgroup/kubepods", {"cpu.max": "max 100000"})
    assert cores.usable_cores() == 2


def test_smallest_old_quota_on_the_way_up_counts(machine: Machine) -> None:
    machine.show("9:memory:/other\n4:cpuacct,cpu:/docker/one\n", V1)
    machine.limit("/sys/fs/cgroup/cpu,cpuacct/docker/one", old_quota("-1"))
    machine.limit("/sys/fs/cgroup/cpu,cpuacct/docker", old_quota("400000"))
    assert cores.usable_cores() == 4


def test_group_mounted_as_the_root_counts(machine: Machine) -> None:
    """Docker without a namespace shows the host's path and mounts the container's group."""
    docker_v1 = ("/docker/one", *V1[1:])
    machine.show("4:cpu,cpuacct:/docker/one\n", docker_v1)
    machine.limit("/sys/fs/cgroup/cpu,cpuacct", old_quota("500000"))
    assert cores.usable_cores() == 5


def test_group_below_a_mounted_group_counts(machine: Machine) -> None:
    machine.show("0::/docker/one/worker\n", ("/docker/one", *V2[1:]))
    machine.limit("/sys/fs/cgroup/worker", {"cpu.max": "200000 100000"})
    machine.limit("/sys/fs/cgroup", {"cpu.max": "400000 100000"})
    assert cores.usable_cores() == 2


@pytest.mark.parametrize("path", ["/../other", "/host/only"])
def test_mount_counts_when_the_group_is_outside(machine: Machine, path: str) -> None:
    machine.show(f"0::{path}\n", V2)
    machine.limit("/sys/fs/cgroup", {"cpu.max": "200000 100000"})
    machine.limit("/sys/fs/other", {"cpu.max": "100000 100000"})
    assert cores.usable_cores() == 2


def test_quotas_of_both_versions_count_on_a_hybrid_machine(machine: Machine) -> None:
    machine.show("1:cpu:/a:b\n0::/\n", V1, ("/", "/sys/fs/cgroup/unified", V2[2]))
    machine.limit("/sys/fs/cgroup/cpu,cpuacct/a:b", old_quota("300000"))
    machine.limit("/sys/fs/cgroup/unified", {})
    assert cores.usable_cores() == 3


def test_quota_of_another_controller_does_not_count(machine: Machine) -> None:
    machine.show("2:cpuset:/\n", ("/", "/sys/fs/cgroup/cpuset", "cgroup cgroup rw,cpuset"))
    machine.limit("/sys/fs/cgroup/cpuset", old_quota("100000"))
    assert cores.usable_cores() == 8


@pytest.mark.parametrize("text", ["", "200000", "x y", "200000 0 0"])
def test_unreadable_quota_does_not_count(machine: Machine, text: str) -> None:
    machine.show("0::/\n", V2)
    machine.limit("/sys/fs/cgroup", {"cpu.max": text})
    assert cores.usable_cores() == 8


def test_cores_are_not_limited_without_a_cgroup(machine: Machine) -> None:
    machine.show("")
    assert cores.usable_cores() == 8


def test_cores_are_not_limited_without_proc(machine: Machine) -> None:
    machine.proc.rmdir()
    assert cores.usable_cores() == 8
