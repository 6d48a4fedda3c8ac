"""The rendered Deployment, run by Podman: it answers, and has no privileges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.conftest import RELEASED_MODELS
from tests.deploy.kubernetes.pod import VERSION, Pod, running_pod
from tests.deploy.kubernetes.rendering import container_of

# The first test builds the image, which installs all packages of the service.
pytestmark = pytest.mark.exhaustive

_BUNDLE: Final = RELEASED_MODELS / "osteo-mobilenetv2" / VERSION
_TILE: Final = _BUNDLE / "golden" / "drawn_viable_tumor.png"
_OPENSHIFT_USER: Final = 1_000_620_000
_KERNEL: Final = ("/dev", "/proc", "/sys")


@pytest.fixture(scope="module", params=[("cpu", None), ("openshift", _OPENSHIFT_USER)], ids=str)
def pod(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    overlay, user = request.param
    with running_pod(tmp_path_factory.mktemp("pod"), overlay, user) as pod:
        yield pod


def test_its_probes_succeed(pod: Pod) -> None:
    container = container_of(pod.objects)
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [pod.get(probe["path"]).status_code for probe in probes] == [200, 200, 200]


def test_it_classifies_with_the_model_of_the_volume(pod: Pod) -> None:
    labels = [each["id"] for each in json.loads((_BUNDLE / "manifest.json").read_text())["labels"]]
    expected = json.loads((_BUNDLE / "golden" / "expected.json").read_text())["logits"]
    for name, logits in expected.items():
        answer = pod.classify((_BUNDLE / "golden" / name).read_bytes()).json()
        assert answer["prediction"] == labels[logits.index(max(logits))]
        assert answer["model"]["version"] == VERSION


def test_a_caller_without_the_key_of_the_secret_is_refused(pod: Pod) -> None:
    stranger = Pod(pod.objects, pod.url, "osteo_aaaaaaaa_wrong")
    assert stranger.classify(_TILE.read_bytes()).status_code == 401


def test_it_has_no_privileges(pod: Pod) -> None:
    lines = pod.exec("cat", "/proc/1/status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["CapEff"] == status["CapBnd"] == ["0" * 16]
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    assert status["Uid"][0] in {"10001", str(_OPENSHIFT_USER)}


def test_it_can_write_to_tmp_only(pod: Pod) -> None:
    mounts = [line.split() for line in pod.exec("cat", "/proc/mounts").splitlines()]
    options = {mount[1]: mount[3].split(",") for mount in mounts}
    of_files = {path: chosen for path, chosen in options.items() if not path.startswith(_KERNEL)}
    assert [path for path, chosen in of_files.items() if "rw" in chosen] == ["/tmp"]  # noqa: S108 # the pod's
    assert "ro" in options["/models"]
