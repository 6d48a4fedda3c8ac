"""The wheel and the bundle of this repository, as a release builds them."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from app import __version__
from deploy.release.artifacts import build_wheel, pack_bundle, shipped_bundle
from deploy.release.errors import ReleaseError
from deploy.release.programs import run
from deploy.release.signing import read_key
from deploy.release.tag import Tag
from tests.conftest import REPOSITORY
from tests.deploy.release.made_repository import commit, git

EPOCH = 1767323045


def test_wheel_is_built_twice_with_the_same_bytes(tmp_path: Path) -> None:
    wheel = build_wheel(REPOSITORY, Tag(f"v{__version__}", "", EPOCH), tmp_path)
    assert wheel.name == f"osteo_tiles-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert top == {"app", "training", f"osteo_tiles-{__version__}.dist-info"}


def test_bundle_of_the_image_is_packed_as_it_was_committed(tmp_path: Path) -> None:
    repository = tmp_path / "x"
    bundle = shipped_bundle(REPOSITORY)
    shutil.copytree(REPOSITORY / "models" / bundle, repository / "models" / bundle)
    git(repository, "init", "--quiet")
    commit(repository)
    tag = Tag("v1.0.0", git(repository, "rev-parse", "HEAD"), EPOCH)
    with tarfile.open(pack_bundle(repository, tag, bundle, tmp_path)) as archive:
        manifest = archive.extractfile(f"models/{bundle}/manifest.json")
        assert manifest
        assert manifest.read() == (REPOSITORY / "models" / bundle / "manifest.json").read_bytes()


def test_a_changed_bundle_is_not_packed(tmp_path: Path) -> None:
    bundle = shipped_bundle(REPOSITORY)
    shutil.copytree(REPOSITORY / "models" / bundle, tmp_path / "models" / bundle)
    (tmp_path / "models" / bundle / "model.tflite").write_bytes(b"another")
    with pytest.raises(ReleaseError, match=r"model\.tflite is missing, or differs"):
        pack_bundle(tmp_path, Tag("v1.0.0", "", EPOCH), bundle, tmp_path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("-algorithm", "rsa"), "is not an Ed25519 key"),
        (("-algorithm", "ed25519", "-aes256", "-pass", "pass:x"), "is encrypted"),
    ],
)
def test_read_key_refuses_others(tmp_path: Path, options: tuple[str, ...], problem: str) -> None:
    key = tmp_path / "key.pem"
    run("openssl", "genpkey", *options, "-out", key)
    with pytest.raises(ReleaseError, match=problem):
        read_key(key)
    key.write_text("no key")
    with pytest.raises(ReleaseError, match="is not a private key in PEM"):
        read_key(key)
