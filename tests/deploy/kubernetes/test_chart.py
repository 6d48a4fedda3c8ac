"""The chart renders what the kustomize files do, and refuses values that it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its types are another package

from app import __version__
from tests.deploy.kubernetes.rendering import (
    CHART,
    COMPONENTS,
    Objects,
    container_of,
    helm_template,
    kustomized,
    only,
)
from tests.deploy.kubernetes.tools import kubernetes_tool

_DIGEST = f"sha256:{'0123456789abcdef' * 4}"
_COMPONENT_VALUES = (
    *("--set", "audit.secret=osteo-tiles-audit", "--set", "monitoring.enabled=true"),
    *("--set", "models.claim=osteo-tiles-models"),
)


def _comparable(objects: Objects) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects by kind and name, without what Helm adds for itself."""
    for each in objects:
        metadata = each["metadata"]
        metadata["labels"].pop("app.kubernetes.io/managed-by", None)
        metadata["labels"].pop("helm.sh/chart", None)
        if metadata.get("annotations", {}).keys() == {"helm.sh/resource-policy"}:
            del metadata["annotations"]
        if each["kind"] == "Deployment":
            # Their order has no meaning.
            pod = each["spec"]["template"]["spec"]
            pod["volumes"].sort(key=lambda volume: volume["name"])
            pod["containers"][0]["volumeMounts"].sort(key=lambda mount: mount["name"])
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(by_name) == len(objects)
    return by_name


@pytest.mark.parametrize(
    ("overlay", "values"),
    [
        ("cpu", ()),
        ("gpu", ("--values", CHART / "values-gpu.yaml")),
        ("openshift", ("--values", CHART / "values-openshift.yaml")),
    ],
)
@pytest.mark.parametrize(
    ("components", "component_values"), [((), ()), (COMPONENTS, _COMPONENT_VALUES)]
)
def test_the_chart_renders_the_same_objects_as_kustomize(
    tmp_path: Path,
    overlay: str,
    values: Sequence[object],
    components: Sequence[str],
    component_values: Sequence[object],
) -> None:
    of_chart = _comparable(helm_template(*values, *component_values))
    assert of_chart == _comparable(kustomized(tmp_path, overlay, components))


def test_the_image_can_be_overridden_in_both(tmp_path: Path) -> None:
    name = "registry.hospital.example/osteo-tiles"
    images = [{"name": "osteo-tiles", "newName": name, "digest": _DIGEST}]
    of_chart = helm_template(
        "--set", f"image.repository={name}", "--set", f"image.digest={_DIGEST}"
    )
    of_kustomize = kustomized(tmp_path, "cpu", site={"images": images})
    for objects in (of_chart, of_kustomize):
        assert container_of(objects)["image"] == f"{name}@{_DIGEST}"


def test_the_chart_names_everything_after_its_release() -> None:
    text = kubernetes_tool("helm", "template", "second", CHART, *_COMPONENT_VALUES)
    named = [each["metadata"]["name"] for each in yaml.safe_load_all(text)]
    assert named
    assert all(name.startswith("second") for name in named)


def test_a_changed_setting_changes_the_name_that_the_pods_refer_to() -> None:
    before = helm_template()
    after = helm_template("--set", "settings.OSTEO_LOG_LEVEL=warning")
    names = [only(objects, "ConfigMap")["metadata"]["name"] for objects in (before, after)]
    references = [
        container_of(objects)["envFrom"][0]["configMapRef"]["name"] for objects in (before, after)
    ]
    assert references == names
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("image.repositry=osteo-tiles", "repositry"),
        ("autoscaling.metric=memory", "metric"),
        ("image.digest=sha256:12", "digest"),
        ("settings.OSTE_AUDIT=off", "OSTE_AUDIT"),
        ("settings.OSTEO_WORKERS=2", "OSTEO_WORKERS"),  # a number, where text is needed
        ("resources.limits.cpu=null", "cpu"),
    ],
)
def test_a_wrong_value_is_refused(value: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        helm_template("--set", value)


def test_helm_has_nothing_to_object() -> None:
    assert "0 chart(s) failed" in kubernetes_tool("helm", "lint", "--strict", CHART)


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
