from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.bundle import Trust, open_bundle
from app.core.bundle_errors import UntrustedBundleError
from app.core.errors import SettingsError
from app.core.manifest import MANIFEST_NAME
from app.core.signature import PublicKey
from app.settings import read_settings
from tests.bundles import MODEL_NAME
from tests.conftest import RELEASED_MODELS, REPOSITORY

NO_KEY = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def root(models_dir: Path) -> Path:
    return models_dir / MODEL_NAME / "1"


def test_pinned_bundle_is_opened(root: Path) -> None:
    sha256 = hashlib.sha256((root / MANIFEST_NAME).read_bytes()).hexdigest()
    assert open_bundle(root, Trust(sha256)).sha256 == sha256


def test_other_bundle_is_refused_with_both_values(root: Path) -> None:
    sha256, pinned = hashlib.sha256((root / MANIFEST_NAME).read_bytes()).hexdigest(), "a" * 64
    with pytest.raises(UntrustedBundleError, match=f"{sha256}.*{pinned}"):
        open_bundle(root, Trust(pinned))


def test_unsigned_bundle_is_refused_if_a_key_is_set(root: Path) -> None:
    with pytest.raises(UntrustedBundleError, match=r"it has no manifest\.json\.sig"):
        open_bundle(root, Trust(public_key=PublicKey.parse(NO_KEY)))


def test_missing_package_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    (root / "manifest.json.sig").write_bytes(bytes(64))
    with pytest.raises(UntrustedBundleError, match=r"osteo-tiles\[signatures\]"):
        open_bundle(root, Trust(public_key=PublicKey.parse(NO_KEY)))


@pytest.mark.parametrize("version", ["1", "2", "3", "4"])
def test_documented_sha256_is_that_of_the_released_bundle(version: str) -> None:
    sha256 = open_bundle(RELEASED_MODELS / MODEL_NAME / version).sha256
    page = (REPOSITORY / "docs" / "bundles.md").read_text()
    assert f"| `{MODEL_NAME}/{version}` | `{sha256}` |" in page


@pytest.mark.parametrize("text", ["", "x", "RWQ=", "00" * 31, NO_KEY[:-4], f"{NO_KEY}!"])
def test_text_that_is_no_key_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="minisign"):
        PublicKey.parse(text)


@pytest.mark.parametrize(
    "variable",
    ["OSTEO_BUNDLE_PUBLIC_KEY=RWQ", "OSTEO_BUNDLE_SHA256=abc", f"OSTEO_MODEL_VERSION={'9' * 300}"],
)
def test_invalid_setting_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = variable.split("=")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}.* must "):
        read_settings()


def test_openssl_signs_as_documented(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="the extra `signatures` is not installed")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    commands = (
        "openssl genpkey -algorithm ed25519 -out key.pem",
        "openssl pkey -in key.pem -pubout -out public.pem",
        f"openssl pkeyutl -sign -inkey key.pem -rawin -in {root}/manifest.json "
        f"-out {root}/manifest.json.sig",
    )
    for command in commands:
        subprocess.run(command.split(), cwd=tmp_path, check=True)
    printed = (tmp_path / "public.pem").read_text().splitlines()[1]
    trust = Trust(public_key=PublicKey.parse(printed))
    assert open_bundle(root, trust).path == root
    manifest = root / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(UntrustedBundleError, match="not a signature"):
        open_bundle(root, trust)


class TestSignatures:
    @pytest.fixture(autouse=True)
    def _signer(self, root: Path) -> None:
        pytest.importorskip("cryptography", reason="the extra `signatures` is not installed")
        from tests.bundle.signing import Signer

        self.signer, self.other = Signer(), Signer()
        self.root, self.content = root, (root / MANIFEST_NAME).read_bytes()

    def open_with(self, key: str, suffix: str, signature: bytes) -> None:
        (self.root / f"{MANIFEST_NAME}.{suffix}").write_bytes(signature)
        open_bundle(self.root, Trust(public_key=PublicKey.parse(key)))

    def test_raw_signature_is_accepted(self) -> None:
        signature = self.signer.sign(self.content)
        for key in (self.signer.key.hex(), base64.b64encode(self.signer.key).decode()):
            self.open_with(key, "sig", signature)
            self.open_with(key, "sig", base64.b64encode(signature) + b"\n")

    def test_minisign_signature_is_accepted(self) -> None:
        for prehashed in (True, False):
            signature = self.signer.minisign(self.content, prehashed=prehashed)
            self.open_with(self.signer.minisign_key, "minisig", signature)

    def test_other_raw_signature_is_refused(self) -> None:
        signature = self.signer.sign(self.content)
        wrong = (self.other.sign(self.content), signature[:-1], b"", signature + b"x", b"A" * 9000)
        for content in wrong:
            with pytest.raises(UntrustedBundleError, match=r"manifest\.json\.sig"):
                self.open_with(self.signer.key.hex(), "sig", content)

    def test_other_minisign_signature_is_refused(self) -> None:
        right = self.signer.minisign(self.content)
        changes: tuple[Callable[[], bytes], ...] = (
            lambda: self.other.minisign(self.content),
            lambda: self.signer.minisign(self.content + b" "),
            lambda: self.signer.minisign(self.content, key_id=b"12345678"),
            lambda: right.replace(b"timestamp:1", b"timestamp:2"),
            lambda: right.replace(b"trusted comment", b"comment"),
            lambda: b"\n".join(right.splitlines()[:2]),
            lambda: b"a\nb\ntrusted comment: c\nd",
            lambda: b"",
        )
        for change in changes:
            with pytest.raises(UntrustedBundleError, match=r"manifest\.json\.minisig"):
                self.open_with(self.signer.minisign_key, "minisig", change())
