"""How the files of a release were made: an in-toto statement with SLSA provenance v1.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.release.artifacts import sha256_of
from deploy.release.tag import Tag

BUILD_TYPE: Final = "urn:osteo-tiles:make-release:1"
"""Names the meaning of the parameters; docs/supply-chain.md describes them."""
NOT_NAMED: Final = "urn:osteo-tiles:builder:not-named"


@dataclass(frozen=True, slots=True)
class Build:
    """How a release was made.

    Attributes:
        tag: what was built.
        builder: URI of who built it, as given; nobody checks it.
        parameters: options of the command.
        checks: state of each step by name.
        materials: SHA-256 of inputs by name, beside the commit.
        started: when the command began.
        images: ID of each image by target.
    """

    tag: Tag
    builder: str
    parameters: Mapping[str, Any]
    checks: Mapping[str, str]
    materials: Mapping[str, str]
    started: datetime.datetime
    images: Mapping[str, str] = field(default_factory=dict)


def provenance(build: Build, paths: Iterable[Path], finished: datetime.datetime) -> dict[str, Any]:
    """The statement about files that were built."""
    address = build.parameters.get("source_url") or "urn:osteo-tiles"
    source = {
        "name": "osteo-tiles",
        "uri": f"git+{address}@refs/tags/{build.tag.name}",
        "digest": {"gitCommit": build.tag.commit},
    }
    inputs = [
        {"name": name, "digest": {"sha256": digest}} for name, digest in build.materials.items()
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": path.name, "digest": {"sha256": sha256_of(path)}} for path in sorted(paths)
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"tag": build.tag.name, **build.parameters},
                "internalParameters": {"checks": dict(build.checks), "images": dict(build.images)},
                "resolvedDependencies": [source, *inputs],
            },
            "runDetails": {
                "builder": {"id": build.builder, "version": {"python": platform.python_version()}},
                "metadata": {
                    "startedOn": _rfc3339(build.started),
                    "finishedOn": _rfc3339(finished),
                },
            },
        },
    }


def write_provenance(statement: Mapping[str, Any], path: Path) -> None:
    """Write a statement."""
    path.write_text(json.dumps(statement, indent=2) + "\n", encoding="utf-8")


def lock_materials(checkout: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of lock files and of the Dockerfile, by path."""
    paths = [f"requirements/{name}.lock" for name in names] + ["Dockerfile"]
    return {path: sha256_of(checkout / path) for path in paths}


def _rfc3339(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
