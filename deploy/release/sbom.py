"""Bills of materials in CycloneDX 1.6: of a lock file, and of an image."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL

from deploy.release.components import (
    bundle_component,
    debian_component,
    python_component,
)
from deploy.release.errors import ReleaseError
from deploy.release.inventory import Distribution, Inventory, read_bundles
from deploy.release.licences import Rules
from deploy.release.locks import Pin, hashes_by_package

PRODUCT = "osteo-tiles"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a bill of materials describes.

    Attributes:
        part: `serve`, `image-cpu`; part of the file's name.
        version: of osteo-tiles.
        epoch: seconds since 1970 of the commit; the time of the bill, so that it is reproducible.
    """

    part: str
    version: str
    epoch: int


def lock_bom(
    subject: Subject,
    pins: Sequence[Pin],
    installed: Mapping[str, Distribution],
    models_dir: Path,
    rules: Rules,
) -> Bom:
    """What a lock file installs, on any system, and the bundles beside it.

    Args:
        subject: what is described.
        pins: of the lock file.
        installed: packages by canonical name; hold licences, which lock files do not.
        models_dir: folder of bundles.
        rules: have the licences that packages do not state.

    Raises:
        LicenceError: the licence of a package is not known.
    """
    packages = []
    for pin in pins:
        found = installed.get(pin.name)
        packages.append(
            python_component(
                pin.name,
                pin.version,
                rules.of_package(pin.name, found),
                hashes=pin.hashes,
                marker=pin.marker,
                installed=found if found and found.version == pin.version else None,
                rules=rules,
            )
        )
    return _bom(subject, [*packages, *_bundles(read_bundles(models_dir))])


def image_bom(subject: Subject, inventory: Inventory, pins: Iterable[Pin], rules: Rules) -> Bom:
    """What an image contains: Python, its packages, Debian packages, bundles.

    Args:
        subject: what is described.
        inventory: of the image.
        pins: of the lock file that the image was built from; hold SHA-256 values.
        rules: have the licences that packages do not state.

    Raises:
        LicenceError: the licence of a package is not known.
    """
    hashes = hashes_by_package(pins)
    packages = [
        python_component(
            found.canonical_name,
            found.version,
            rules.of_package(found.canonical_name, found),
            hashes=hashes.get((found.canonical_name, found.version), ()),
            installed=found,
            rules=rules,
        )
        for found in inventory.distributions
        if found.canonical_name != PRODUCT
    ]
    python = Component(
        type=ComponentType.APPLICATION,
        name="cpython",
        version=inventory.python,
        bom_ref=f"cpython@{inventory.python}",
        purl=PackageURL("generic", name="cpython", version=inventory.python),
    )
    debian = [debian_component(package, inventory.system) for package in inventory.debian]
    return _bom(subject, [*packages, python, *debian, *_bundles(inventory.bundles)])


def _bundles(bundles: Mapping[str, Mapping[str, object]]) -> list[Component]:
    return [
        bundle_component(name, str(bundle["sha256"]), bundle["manifest"])  # type: ignore[arg-type] # JSON
        for name, bundle in bundles.items()
    ]


def _bom(subject: Subject, components: Sequence[Component]) -> Bom:
    purl = PackageURL("pypi", name=PRODUCT, version=subject.version)
    product = Component(
        type=ComponentType.APPLICATION,
        name=PRODUCT,
        version=subject.version,
        bom_ref=f"{PRODUCT}-{subject.part}",
        purl=purl,
        description="Research use only. Not a medical device.",
    )
    content = "\n".join(sorted(str(component.bom_ref) for component in components))
    bom = Bom(
        components=components,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{purl} {subject} {content}"),
    )
    bom.metadata.component = product
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(subject.epoch, tz=datetime.UTC)
    bom.register_dependency(product, components)
    return bom


def write_bom(bom: Bom, path: Path) -> None:
    """Write a bill of materials, after checking it against the schema of CycloneDX 1.6.

    Raises:
        ReleaseError: it does not follow the schema.
    """
    # Here, because the import takes seconds: the grammar of addresses is compiled each time.
    from cyclonedx.validation.json import JsonStrictValidator

    text = JsonV1Dot6(bom).output_as_string(indent=2)
    invalid = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if invalid:
        raise ReleaseError(f"{path.name} does not follow the schema of CycloneDX 1.6: {invalid}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
