"""The kustomizations and Helm commands of docs/kubernetes.md do what the page says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from tests.conftest import REPOSITORY
from tests.contract.pages import code_blocks
from tests.deploy.kubernetes.rendering import (
    KUSTOMIZE,
    Objects,
    container_of,
    helm_template,
    only,
    parsed,
)
from tests.deploy.kubernetes.tools import kubernetes_tool

_PAGE: Final = "docs/kubernetes.md"
_SITES: Final = code_blocks(_PAGE, "yaml")
_SERVICES: Final = [site for site in _SITES if "overlays/" in site]
_COMMANDS: Final = "\n".join(code_blocks(_PAGE, "")).replace("\\\n", " ")
_HELM: Final = re.findall(r"^helm upgrade --install osteo-tiles (\S+) (.*)$", _COMMANDS, re.M)


def _render_site(folder: Path, text: str) -> Objects:
    """Render a kustomization of the page, in a folder `site` beside `deploy`."""
    shutil.copytree(KUSTOMIZE, folder / "deploy" / "kubernetes")
    (folder / "site").mkdir()
    (folder / "site" / "kustomization.yaml").write_text(text)
    return parsed(kubernetes_tool("kubectl", "kustomize", folder / "site"))


@pytest.mark.parametrize("number", range(len(_SITES)))
def test_a_kustomization_renders_into_the_namespace(tmp_path: Path, number: int) -> None:
    objects = _render_site(tmp_path, _SITES[number])
    assert {each["metadata"]["namespace"] for each in objects} == {"osteo-tiles"}


@pytest.mark.parametrize("number", range(len(_HELM)))
def test_a_helm_command_does_what_the_kustomization_above_it_does(
    tmp_path: Path, number: int
) -> None:
    chart, options = _HELM[number]
    assert (REPOSITORY / chart / "Chart.yaml").exists()
    of_helm = helm_template(*shlex.split(options))
    of_kustomize = _render_site(tmp_path, _SERVICES[number])
    assert only(of_helm, "ConfigMap")["data"] == only(of_kustomize, "ConfigMap")["data"]
    assert container_of(of_helm)["image"] == container_of(of_kustomize)["image"]


def test_the_page_creates_every_secret_that_the_files_refer_to() -> None:
    pattern = r"(?:secretName: |(?:secretKeyRef|credentials):\n +name: )(\S+)"
    files = [file.read_text() for file in KUSTOMIZE.rglob("*.yaml")]
    named = {name for text in files for name in re.findall(pattern, text)}
    created = set(re.findall(r"create secret generic (\S+)", _COMMANDS))
    assert named == created


def test_the_page_makes_a_rule_object_of_the_alerts(tmp_path: Path) -> None:
    (block,) = (block for block in code_blocks(_PAGE, "") if "PrometheusRule" in block)
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    subprocess.run(["/bin/bash", "-euc", block.split("kubectl ")[0]], cwd=tmp_path, check=True)
    rule = yaml.safe_load((tmp_path / "prometheus-rule.yaml").read_text())
    alerts = yaml.safe_load((REPOSITORY / "deploy" / "monitoring" / "alerts.yml").read_text())
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == alerts
