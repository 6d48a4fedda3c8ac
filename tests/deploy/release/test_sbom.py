"""Bills of materials: hashes of the locks, licences of the packages, bundles, Debian packages."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.output.json import JsonV1Dot6

from deploy.release.documents import installed_packages
from deploy.release.errors import ReleaseError
from deploy.release.inventory import Distribution, read_distributions, read_inventory
from deploy.release.licences import Rules
from deploy.release.locks import lock_path, read_lock
from deploy.release.sbom import Subject, image_bom, lock_bom, write_bom
from tests.conftest import REPOSITORY

RULES = Rules.read()
SERVE = lock_path(REPOSITORY, "serve")
SUBJECT = Subject("serve", "1.2.0", 1767323045)
DPKG_STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.0.17-1~deb12u2
Description: Secure Sockets Layer toolkit
 with several lines

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

"""


def contents_of(bom: Bom, path: Path) -> dict[str, dict[str, Any]]:
    """Write a bill and read its components, by name."""
    write_bom(bom, path)
    found: list[dict[str, Any]] = json.loads(path.read_text())["components"]
    return {component["name"]: component for component in found}


@pytest.fixture(scope="module")
def installed() -> dict[str, Distribution]:
    return installed_packages(read_lock(SERVE))


@pytest.fixture(scope="module")
def serve(installed: dict[str, Distribution], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bill of materials of serve.lock."""
    path = tmp_path_factory.mktemp("serve") / "sbom.json"
    write_bom(lock_bom(SUBJECT, read_lock(SERVE), installed, REPOSITORY / "models", RULES), path)
    return path


def text_of_few(order: int) -> str:
    """A bill of ten packages, in their order (1) or the other way round (-1)."""
    pins = read_lock(SERVE)[:10][::order]
    bom = lock_bom(SUBJECT, pins, installed_packages(pins), REPOSITORY / "models", RULES)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def test_lock_bom_is_the_same_in_another_order_and_another_process() -> None:
    program = f"from {__name__} import text_of_few; print(text_of_few(-1))"
    environ = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY, env=environ, check=True, stdout=subprocess.PIPE)
    assert done.stdout.decode() == f"{text_of_few(1)}\n"


@pytest.mark.exhaustive
def test_whole_lock_bom_is_the_same_twice(
    installed: dict[str, Distribution], tmp_path: Path
) -> None:
    pins = read_lock(SERVE)
    for name, order in (("first", pins), ("again", pins[::-1])):
        write_bom(
            lock_bom(SUBJECT, order, installed, REPOSITORY / "models", RULES), tmp_path / name
        )
    assert (tmp_path / "again").read_bytes() == (tmp_path / "first").read_bytes()


def test_lock_bom_has_a_licence_and_the_hashes_of_each_package(serve: Path) -> None:
    components = {
        component["purl"]: component
        for component in json.loads(serve.read_text())["components"]
        if component["type"] == "library"
    }
    pins = read_lock(SERVE)
    assert len(components) == len(pins)
    for pin in pins:
        component = components[f"pkg:pypi/{pin.name}@{pin.version}"]
        assert component["licenses"], pin.name
        (files,) = component["externalReferences"]
        assert sorted(one["content"] for one in files["hashes"]) == list(pin.hashes)


@pytest.mark.exhaustive
def test_lock_bom_agrees_with_cyclonedx_py(serve: Path, tmp_path: Path) -> None:
    """A second opinion, from the program that only reads lock files."""
    path = tmp_path / "theirs.json"
    options = ["--no-validate", "-o", str(path), str(SERVE)]
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", *options]
    subprocess.run(command, check=True, capture_output=True)
    theirs, ours = (json.loads(one.read_text())["components"] for one in (path, serve))
    assert {(c["name"], c["version"]) for c in theirs} == {
        (c["name"], c["version"]) for c in ours if c["type"] == "library"
    }


def test_lock_bom_names_bundled_libraries_and_their_licences(serve: Path) -> None:
    components = {c["name"]: c for c in json.loads(serve.read_text())["components"]}
    libraries = {one["name"]: one for one in components["psycopg-binary"]["components"]}
    (name,) = [name for name in libraries if name.startswith("libpq-")]
    assert libraries[name]["licenses"] == [{"license": {"id": "PostgreSQL"}}]
    assert len(libraries[name]["hashes"][0]["content"]) == 64


def test_lock_bom_attributes_the_tiles_of_a_bundle(serve: Path) -> None:
    bundles = [
        component
        for component in json.loads(serve.read_text())["components"]
        if component["type"] == "machine-learning-model"
    ]
    (newest,) = [bundle for bundle in bundles if bundle["version"] == "4"]
    page = (REPOSITORY / "docs" / "bundles.md").read_text()
    assert f"`osteo-mobilenetv2/4` | `{newest['hashes'][0]['content']}`" in page
    assert newest["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    data, *_ = [one for one in newest["pedigree"]["ancestors"] if one["type"] == "data"]
    assert data["licenses"] == [{"license": {"id": "CC-BY-3.0"}}]
    assert data["copyright"].startswith("Leavey P. et al. (2019)")


def test_lock_bom_names_no_package_index(serve: Path) -> None:
    addresses = set(re.findall(r'"(?:https?|file)://[^"]+"', serve.read_text()))
    assert addresses == {
        '"http://cyclonedx.org/schema/bom-1.6.schema.json"',
        '"https://doi.org/10.7937/tcia.2019.bvhjhdas"',
    }


def test_write_bom_refuses_what_does_not_follow_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "cyclonedx.output.json.JsonV1Dot6.output_as_string", lambda *_, **__: '{"components": 1}'
    )
    with pytest.raises(ReleaseError, match=r"bad.json does not follow the schema"):
        write_bom(Bom(), tmp_path / "bad.json")
    assert not (tmp_path / "bad.json").exists()


def test_inventory_has_no_copies_that_a_module_put_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ray does when it is imported."""
    (tmp_path / "copied-1.dist-info").mkdir()
    (tmp_path / "copied-1.dist-info" / "METADATA").write_text("Name: copied\nVersion: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("copied") == "1"
    assert "copied" not in {d.name for d in read_distributions({"copied"})}


def test_image_bom_has_what_the_image_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inventory of a made file system, and of a few packages of this interpreter."""
    few = [importlib.metadata.distribution(name) for name in ("idna", "numpy", "osteo-tiles")]
    monkeypatch.setattr("importlib.metadata.distributions", lambda **_: few)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (tmp_path / "var" / "lib" / "dpkg").mkdir(parents=True)
    (tmp_path / "var" / "lib" / "dpkg" / "status").write_text(DPKG_STATUS)
    inventory = read_inventory(REPOSITORY / "models", tmp_path)
    bom = image_bom(Subject("image-cpu", "1.2.0", 0), inventory, read_lock(SERVE), RULES)
    components = contents_of(bom, tmp_path / "sbom.json")
    assert "osteo-tiles" not in components  # it is the subject
    assert components["numpy"]["externalReferences"][0]["hashes"]
    assert components["cpython"]["version"] == ".".join(map(str, sys.version_info[:3]))
    purl = "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=debian-12"
    assert components["libssl3"]["purl"] == purl
    assert "gone" not in components
