from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.bundle import open_bundle
from app.core.bundle_errors import ChecksumError, ManifestError
from app.core.manifest import GOLDEN_NAME, LITERT_NAME, MANIFEST_NAME, SAVED_MODEL_NAME
from tests.bundle.sealing import seal
from tests.bundles import MODEL_NAME


@pytest.fixture
def root(models_dir: Path) -> Path:
    return models_dir / MODEL_NAME / "1"


def test_flipped_byte_is_rejected(root: Path) -> None:
    file = root / LITERT_NAME
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    with pytest.raises(ChecksumError, match=LITERT_NAME):
        open_bundle(root)


@pytest.mark.parametrize("name", [LITERT_NAME, "golden/pink.png"])
def test_missing_file_is_rejected(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(ChecksumError, match="is missing"):
        open_bundle(root)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "golden/../../outside", "a/./b", ".hidden", "a\nb", ""]
)
def test_manifest_cannot_reach_outside_the_bundle(root: Path, name: str) -> None:
    document = json.loads((root / MANIFEST_NAME).read_text())
    document["files"][name] = {"sha256": "0" * 64, "n_bytes": 1}
    (root / MANIFEST_NAME).write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="outside"):
        open_bundle(root)


@pytest.mark.parametrize("name", [LITERT_NAME, "golden/pink.png", "linked/model.tflite"])
def test_link_to_outside_is_rejected(root: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside" / Path(name).name
    outside.parent.mkdir()
    outside.write_bytes((root / LITERT_NAME).read_bytes())
    if name.startswith("linked"):
        (root / "linked").symlink_to(outside.parent)
    else:
        (root / name).unlink()
        (root / name).symlink_to(outside)
    document = json.loads((root / MANIFEST_NAME).read_text())
    document["files"][name] = document["files"][LITERT_NAME]
    (root / MANIFEST_NAME).write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="links to outside"):
        open_bundle(root)


@pytest.mark.parametrize("name", [LITERT_NAME, "golden/pink.png", MANIFEST_NAME])
def test_pipe_is_not_read(root: Path, name: str) -> None:
    (root / name).unlink()
    os.mkfifo(root / name)
    with pytest.raises((ManifestError, ChecksumError)):
        open_bundle(root)


@pytest.mark.parametrize("name", [LITERT_NAME, "golden/pink.png"])
def test_enormous_file_is_not_read(root: Path, name: str) -> None:
    with (root / name).open("wb") as stream:
        stream.truncate(200 * 1024**3)  # sparse, so it takes no disk space
    with pytest.raises(ManifestError, match="214748364800 bytes instead of"):
        open_bundle(root)


def test_manifest_outside_the_bundle_is_rejected(root: Path, tmp_path: Path) -> None:
    (root / MANIFEST_NAME).rename(tmp_path / MANIFEST_NAME)
    (root / MANIFEST_NAME).symlink_to(tmp_path / MANIFEST_NAME)
    with pytest.raises(ManifestError, match="links to outside"):
        open_bundle(root)


def test_link_inside_the_bundle_is_followed(root: Path) -> None:
    (root / LITERT_NAME).rename(root / "renamed")
    (root / LITERT_NAME).symlink_to("renamed")
    assert open_bundle(root).read_file(LITERT_NAME)


def test_links_in_a_circle_are_rejected(root: Path) -> None:
    (root / LITERT_NAME).unlink()
    (root / LITERT_NAME).symlink_to(LITERT_NAME)
    with pytest.raises((ManifestError, ChecksumError)):
        open_bundle(root)


def test_copied_folder_is_rejected(root: Path) -> None:
    root.rename(root.with_name("2"))
    with pytest.raises(ManifestError, match="not this folder"):
        open_bundle(root.with_name("2"))


def test_errors_do_not_name_the_servers_folders(root: Path, tmp_path: Path) -> None:
    (root / LITERT_NAME).unlink()
    with pytest.raises(ChecksumError) as raised:
        open_bundle(root)
    assert str(tmp_path) not in str(raised.value)


def test_file_changed_after_opening_is_not_read(root: Path) -> None:
    bundle = open_bundle(root)
    (root / LITERT_NAME).write_bytes(b"other bytes")
    with pytest.raises(ChecksumError, match=LITERT_NAME):
        bundle.read_file(LITERT_NAME)


def test_unlisted_file_is_not_read(root: Path) -> None:
    (root / "extra").write_bytes(b"extra")
    with pytest.raises(ManifestError, match="extra is not listed"):
        open_bundle(root).read_file("extra")


def test_verified_copy_has_only_released_files(root: Path) -> None:
    folder = root / SAVED_MODEL_NAME
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    seal(root)
    (folder / "unlisted").write_bytes(b"unlisted")
    bundle = open_bundle(root)
    with bundle.verified_copy(SAVED_MODEL_NAME) as copy:
        assert [path.name for path in copy.rglob("*") if path.is_file()] == ["variables.index"]
    assert not copy.exists()
    (folder / "variables" / "variables.index").write_bytes(b"INDEX")
    with pytest.raises(ChecksumError), bundle.verified_copy(SAVED_MODEL_NAME):
        pass


def test_golden_files_are_kept(root: Path) -> None:
    bundle = open_bundle(root)
    for path in (root / GOLDEN_NAME).iterdir():
        path.unlink()
    assert set(bundle.golden_files) == {"expected.json", "pink.png"}
