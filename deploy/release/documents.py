"""Write the bills of materials and licence lists of lock files and images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from deploy.release.images import TARGETS, Image
from deploy.release.inventory import Distribution, read_distributions
from deploy.release.licences import Rules
from deploy.release.locks import Pin, lock_path, read_lock
from deploy.release.notices import third_party_notices
from deploy.release.sbom import PRODUCT, Subject, image_bom, lock_bom, write_bom


def installed_packages(pins: Iterable[Pin]) -> dict[str, Distribution]:
    """What is installed in the running environment of some packages, by canonical name."""
    names = {pin.name for pin in pins}
    return {found.canonical_name: found for found in read_distributions(names)}


def write_boms(
    checkout: Path, names: Sequence[str], version: str, epoch: int, out: Path
) -> list[Path]:
    """Write the bill of materials of each lock file.

    Args:
        checkout: has the lock files and the bundles.
        names: of lock files.
        version: of osteo-tiles.
        epoch: seconds since 1970 of the commit.
        out: folder.

    Raises:
        LicenceError: a licence is unknown.
        ReleaseError: a bill does not follow its schema.
    """
    locks = {name: read_lock(lock_path(checkout, name)) for name in names}
    installed, rules = installed_packages(chain(*locks.values())), Rules.read()
    written = []
    for name, pins in locks.items():
        bom = lock_bom(Subject(name, version, epoch), pins, installed, checkout / "models", rules)
        written.append(out / f"sbom-{name}.cdx.json")
        write_bom(bom, written[-1])
    return written


def write_licences(checkout: Path, version: str, out: Path) -> list[Path]:
    """Write the licences of the lock file of each image, as far as it installs on this system.

    Raises:
        LicenceError: a licence is unknown, or must not be shipped.
    """
    locks = {name: read_lock(lock_path(checkout, name)) for name in TARGETS.values()}
    installed, rules = installed_packages(chain(*locks.values())), Rules.read()
    written = []
    for name, pins in locks.items():
        packages = {pin.name for pin in pins if pin.installs_here()}
        text = third_party_notices(f"{name}.lock", version, packages, installed, rules)
        written.append(_write(out / f"third-party-licences-{name}.txt", text))
    return written


def write_image_documents(
    image: Image, target: str, pins: Sequence[Pin], version: str, epoch: int, out: Path
) -> list[Path]:
    """Write the bill of materials of an image and the licences of its Python packages.

    Args:
        image: is run to list what it contains.
        target: of the Dockerfile.
        pins: of the lock file that it was built from.
        version: of osteo-tiles.
        epoch: seconds since 1970 of the commit.
        out: folder.

    Raises:
        LicenceError: a licence is unknown, or must not be shipped.
        ReleaseError: the image cannot be run, or the bill does not follow its schema.
    """
    inventory, rules = image.read_inventory(), Rules.read()
    installed = {found.canonical_name: found for found in inventory.distributions}
    part = f"image-{target}"
    path = out / f"sbom-{part}.cdx.json"
    write_bom(image_bom(Subject(part, version, epoch), inventory, pins, rules), path)
    text = third_party_notices(part, version, installed.keys() - {PRODUCT}, installed, rules)
    return [path, _write(out / f"third-party-licences-{part}.txt", text)]


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
