"""What kustomize and Helm make of the files in `deploy/`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped] # its types are another package

from tests.conftest import REPOSITORY
from tests.deploy.kubernetes.tools import kubernetes_tool

KUSTOMIZE: Final = REPOSITORY / "deploy" / "kubernetes"
CHART: Final = REPOSITORY / "deploy" / "helm" / "osteo-tiles"
OVERLAYS: Final = ("cpu", "gpu", "openshift")
COMPONENTS: Final = ("audit", "models", "monitoring", "traces")
"""Components that any overlay can have; `tiles-in-flight` is part of the overlay `gpu`."""

Objects = list[dict[str, Any]]


def parsed(text: str) -> Objects:
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def kustomized(
    folder: Path,
    overlay: str,
    components: Iterable[str] = (),
    site: Mapping[str, Any] | None = None,
) -> Objects:
    """Objects of an overlay with components and what a site adds, such as `{"images": [...]}`.

    Args:
        folder: an empty folder, for the site's kustomization.
    """
    site_file = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(KUSTOMIZE / "overlays" / overlay, folder)],
        "components": [
            os.path.relpath(KUSTOMIZE / "components" / each, folder) for each in components
        ],
        **(site or {}),
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(site_file))
    return parsed(kubernetes_tool("kubectl", "kustomize", folder))


def helm_template(*arguments: object) -> Objects:
    """Objects of the chart, as release `osteo-tiles`.

    Raises:
        AssertionError: helm refused; the message says why.
    """
    return parsed(kubernetes_tool("helm", "template", "osteo-tiles", CHART, *arguments))


def only(objects: Objects, kind: str, name: str = "osteo-tiles") -> dict[str, Any]:
    """The object of this kind whose name begins with `name`."""
    found = [
        each
        for each in objects
        if each["kind"] == kind and each["metadata"]["name"].startswith(name)
    ]
    return min(found, key=lambda each: len(each["metadata"]["name"]))


def container_of(objects: Objects) -> dict[str, Any]:
    container: dict[str, Any] = only(objects, "Deployment")["spec"]["template"]["spec"][
        "containers"
    ][0]
    return container
