"""The Pod Security Standard `restricted`."""

from __future__ import annotations

from typing import Any, Final

_VOLUMES: Final = {"emptyDir", "persistentVolumeClaim", "secret"}
"""Those of the allowed kinds of volumes that the manifests use."""


def assert_restricted(pod: dict[str, Any]) -> None:
    """Check what the standard demands, and a read-only root file system.

    Args:
        pod: the specification of a pod.
    """
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"].get("runAsUser") != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= _VOLUMES
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not any("hostPort" in port for port in container.get("ports", []))
