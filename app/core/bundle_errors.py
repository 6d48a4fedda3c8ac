"""Why a model bundle is refused; `app.core.errors` shows the whole tree."""

from __future__ import annotations

from app.core.errors import OsteoError


class BundleError(OsteoError):
    """A model bundle failed verification."""


class BundleNotFoundError(BundleError):
    def __init__(self, path: str, hint: str) -> None:
        self.path = path
        super().__init__(f"No model bundle at {path}. {hint}")


class UntrustedBundleError(BundleError):
    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"Bundle {path} is refused: {reason}.")


class ManifestError(BundleError):
    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path} is not valid: {reason}")


class ChecksumError(BundleError):
    def __init__(self, path: str, expected: str, found: str | None) -> None:
        self.path, self.expected, self.found = path, expected, found
        reason = "is missing" if found is None else f"has SHA-256 {found}, expected {expected}"
        super().__init__(f"{path} {reason}. Restore the bundle from its release.")


class GoldenTileError(BundleError):
    def __init__(self, name: str, difference: float, limit: float) -> None:
        self.name, self.difference, self.limit = name, difference, limit
        super().__init__(
            f"Golden tile {name}: logits differ from the released ones by {difference:.2g}, "
            f"more than {limit:.2g}. This runtime does not reproduce the released model."
        )
