"""What the kustomize files render: valid, restricted, and drained before it is killed."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped] # its types are another package

from app.settings import Settings
from app.settings.reading import read_settings
from tests.deploy.kubernetes.rendering import (
    COMPONENTS,
    KUSTOMIZE,
    OVERLAYS,
    Objects,
    container_of,
    kustomized,
    only,
)
from tests.deploy.kubernetes.restricted import assert_restricted
from tests.deploy.kubernetes.schemas import require_valid
from tests.deploy.kubernetes.tools import validate_service_monitor

_CUSTOM_KINDS: Final = {"ServiceMonitor"}
"""Kinds of an operator; kubernetes-validate has no schema of them."""
_END_S: Final = 2  # after OSTEO_DRAIN_TIMEOUT_S the process ends itself


@pytest.fixture(scope="module", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """Objects of each overlay in turn, with all components."""
    return kustomized(tmp_path_factory.mktemp("site"), request.param, COMPONENTS)


@pytest.fixture(scope="module")
def service_monitor(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The only object of the operator of Prometheus, which no test may change."""
    return only(kustomized(tmp_path_factory.mktemp("cpu"), "cpu", ["monitoring"]), "ServiceMonitor")


@pytest.fixture
def objects(rendered: Objects) -> Objects:
    return copy.deepcopy(rendered)


def _pod(objects: Objects) -> dict[str, Any]:
    pod: dict[str, Any] = only(objects, "Deployment")["spec"]["template"]["spec"]
    return pod


def _settings(objects: Objects) -> dict[str, str]:
    data: dict[str, str] = only(objects, "ConfigMap")["data"]
    return data


def test_every_object_is_valid(objects: Objects) -> None:
    validated = [each for each in objects if each["kind"] not in _CUSTOM_KINDS]
    require_valid(*validated)
    assert {each["kind"] for each in validated} == {
        *("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy"),
        *("PodDisruptionBudget", "Service", "ServiceAccount"),
    }


def test_the_service_monitor_is_valid_and_an_invalid_one_would_be_found(
    service_monitor: dict[str, Any],
) -> None:
    validate_service_monitor(service_monitor)
    invalid = copy.deepcopy(service_monitor)
    del invalid["spec"]["endpoints"][0]["authorization"]["credentials"]["key"]
    with pytest.raises(AssertionError, match="credentials must have required property key"):
        validate_service_monitor(invalid)


def test_the_service_monitor_is_the_same_in_each_overlay(
    objects: Objects, service_monitor: dict[str, Any]
) -> None:
    assert only(objects, "ServiceMonitor") == service_monitor


def test_an_invalid_object_would_be_found(objects: Objects) -> None:
    container_of(objects)["readinesProbe"] = {}
    with pytest.raises(ValueError, match="readinesProbe"):
        require_valid(only(objects, "Deployment"))


def test_the_pod_meets_the_restricted_standard(objects: Objects) -> None:
    assert_restricted(_pod(objects))


def test_the_pod_has_no_token_of_the_cluster(objects: Objects) -> None:
    assert _pod(objects)["automountServiceAccountToken"] is False
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False


def test_openshift_can_assign_any_user(tmp_path: Path) -> None:
    security = _pod(kustomized(tmp_path, "openshift"))["securityContext"]
    assert security.keys() == {"runAsNonRoot", "seccompProfile"}


def test_only_tmp_is_writable(objects: Objects) -> None:
    mounts = container_of(objects)["volumeMounts"]
    assert [each["mountPath"] for each in mounts if not each.get("readOnly")] == ["/tmp"]  # noqa: S108 # the pod's
    assert {each["mountPath"] for each in mounts} == {
        *("/tmp", "/models", "/etc/osteo-tiles", "/etc/osteo-tiles-traces"),  # noqa: S108 - as above
    }


def test_the_grace_period_fits_the_drain(objects: Objects) -> None:
    settings = _settings(objects)
    drain_s = float(settings["OSTEO_DRAIN_DELAY_S"]) + float(settings["OSTEO_DRAIN_TIMEOUT_S"])
    before_s = container_of(objects)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before_s + drain_s + _END_S < _pod(objects)["terminationGracePeriodSeconds"]


def test_a_slow_start_is_no_failed_update(objects: Objects) -> None:
    probe = container_of(objects)["startupProbe"]
    start_within_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert start_within_s < only(objects, "Deployment")["spec"]["progressDeadlineSeconds"]


def test_its_requests_fit_the_drain(objects: Objects) -> None:
    drain_timeout_s = float(_settings(objects)["OSTEO_DRAIN_TIMEOUT_S"])
    assert drain_timeout_s > Settings.model_fields["request_timeout_s"].default


def test_the_service_knows_every_setting(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _settings(objects).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OSTEO_AUDIT_URL", "postgresql+psycopg://osteo@db/osteo")
    settings = read_settings()
    assert (settings.create_first_key, settings.slide_workers) == (False, 0)


def test_the_keys_are_where_the_setting_says(objects: Objects) -> None:
    (folder,) = [
        each["mountPath"]
        for each in container_of(objects)["volumeMounts"]
        if each["name"] == "keys"
    ]
    assert Path(_settings(objects)["OSTEO_KEYS_FILE"]) == Path(folder) / "keys.json"


def test_everything_selects_the_pods_of_the_deployment(objects: Objects) -> None:
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        only(objects, "Deployment")["spec"]["selector"]["matchLabels"],
        only(objects, "Service")["spec"]["selector"],
        only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(
            each["spec"]["podSelector"]["matchLabels"]
            for each in objects
            if each["kind"] == "NetworkPolicy"
        ),
        *(
            each["labelSelector"]["matchLabels"]
            for each in _pod(objects)["topologySpreadConstraints"]
        ),
    ]
    assert all(selector == labels for selector in selectors)
    monitored = only(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= only(objects, "Service")["metadata"]["labels"].items()


def test_the_autoscaler_uses_tiles_in_flight_on_a_gpu_and_the_cpu_elsewhere(
    objects: Objects,
) -> None:
    (metric,) = only(objects, "HorizontalPodAutoscaler")["spec"]["metrics"]
    if container_of(objects)["image"].endswith(":gpu"):
        assert metric["pods"]["metric"]["name"] == "osteo_tiles_in_flight"
    else:
        assert metric["resource"]["name"] == "cpu"


def test_the_service_has_the_metric_that_the_adapter_asks_for() -> None:
    values = KUSTOMIZE / "components" / "tiles-in-flight" / "adapter-values.yaml"
    (rule,) = yaml.safe_load(values.read_text())["rules"]["custom"]
    documented = (KUSTOMIZE.parents[1] / "docs" / "metrics.md").read_text()
    assert f"`{rule['name']['as']}`" in documented
    assert rule["seriesQuery"].startswith(rule["name"]["as"])


def test_every_file_is_part_of_something() -> None:
    """A forgotten line in a kustomization would leave an object out."""
    for file in KUSTOMIZE.rglob("*.yaml"):
        if file.name not in {"kustomization.yaml", "adapter-values.yaml"}:
            assert file.name in (file.parent / "kustomization.yaml").read_text(), os.fspath(file)
