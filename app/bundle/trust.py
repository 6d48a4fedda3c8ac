"""Which bundles may be opened: any, the pinned one, or those signed with a key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.bundle_errors import UntrustedBundleError
from app.core.manifest import MANIFEST_NAME
from app.core.signature import PublicKey, SignatureError, verify_signature

_MAX_SIGNATURE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Trust:
    """Conditions on the bundle's manifest, which lists the SHA-256 of every other file.

    Attributes:
        sha256: SHA-256 of the only manifest that is accepted; any if None.
        public_key: key with which the manifest must be signed; none if None.
    """

    sha256: str | None = None
    public_key: PublicKey | None = None

    def require(self, bundle_dir: Path, manifest: bytes) -> None:
        """Check a bundle's manifest before it is parsed.

        Raises:
            UntrustedBundleError: it is not the pinned one, or is not signed with the key.
        """
        shown = f"{bundle_dir.parent.name}/{bundle_dir.name}"
        found = hashlib.sha256(manifest).hexdigest()
        if self.sha256 is not None and found != self.sha256:
            raise UntrustedBundleError(
                shown, f"its SHA-256 is {found}, but OSTEO_BUNDLE_SHA256 allows only {self.sha256}"
            )
        if self.public_key is None:
            return
        name = f"{MANIFEST_NAME}.{self.public_key.suffix}"
        file = bundle_dir / name
        if not file.is_file():
            raise UntrustedBundleError(
                shown, f"it has no {name}, but OSTEO_BUNDLE_PUBLIC_KEY is set"
            )
        with file.open("rb") as stream:
            signature = stream.read(_MAX_SIGNATURE_BYTES)
        try:
            verify_signature(self.public_key, manifest, signature)
        except SignatureError as error:
            raise UntrustedBundleError(shown, f"{name}: {error}") from error


ANY_BUNDLE: Final = Trust()
