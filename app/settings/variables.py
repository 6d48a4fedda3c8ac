"""All variables `OSTEO_*`: those of the service and those of the other programs.

The service refuses an unknown one as misspelt, but a shell may also export those of the training
and of the container.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.settings.fields import PREFIX, Settings

OTHER_VARIABLES: Final[Mapping[str, str]] = {
    "OSTEO_DATA_DIR": "folder of labelled tiles; `osteo-train`, benchmarks and tests read it",
    "OSTEO_DATA_URL": "where `osteo-train dataset fetch` finds the collection",
    "OSTEO_FEATURE_TABLE": "the collection's feature table, for `osteo-train fit` and `release`",
    "OSTEO_TARGET": "target of the Dockerfile that `docker-compose.yml` builds, `cpu` or `gpu`",
    "OSTEO_THUMBNAILS": "folder of low-resolution tiles, for `osteo-train fit` and `release`",
    "OSTEO_WEIGHTS": "file of ImageNet weights; `osteo-train` and the benchmarks read it",
}
"""Variables that the service ignores, with their meaning; `docs/settings.md` lists them too."""


def setting_variables() -> frozenset[str]:
    """The variables that are settings of the service."""
    return frozenset(PREFIX + name.upper() for name in Settings.model_fields)


def known_variables() -> frozenset[str]:
    """All variables: settings of the service, and those that others read."""
    return setting_variables() | OTHER_VARIABLES.keys()
