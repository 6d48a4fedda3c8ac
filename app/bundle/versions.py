"""Find the bundles in a models folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from app.core.bundle_errors import BundleNotFoundError
from app.core.manifest import VERSION_PATTERN

_VERSION: Final = re.compile(VERSION_PATTERN, re.ASCII)


def list_versions(models_dir: Path, model_name: str) -> list[str]:
    """List the version folders of a model, oldest first, without reading them."""
    try:
        entries = list((models_dir / model_name).iterdir())
        names = [
            entry.name for entry in entries if _VERSION.fullmatch(entry.name) and entry.is_dir()
        ]
    except (OSError, ValueError):  # no such folder, one that may not be read, or no valid name
        return []
    return sorted(names, key=int)


def find_bundle(models_dir: Path, model_name: str, model_version: str | None = None) -> Path:
    """Find the directory of a bundle, in its newest version unless one is named.

    Raises:
        BundleNotFoundError: there is no such bundle.
    """
    model_dir = models_dir / model_name
    versions = list_versions(models_dir, model_name)
    if model_version is None:
        if not versions:
            raise BundleNotFoundError(
                model_name, "Set OSTEO_MODELS_DIR to the folder that contains NAME/VERSION/."
            )
        return model_dir / versions[-1]
    if model_version not in versions:
        raise BundleNotFoundError(
            f"{model_name}/{model_version[:20]}", "Check OSTEO_MODEL_NAME and OSTEO_MODEL_VERSION."
        )
    return model_dir / model_version
