"""CycloneDX components: Python packages, Debian packages and bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.component import Component, ComponentType, Pedigree
from packageurl import PackageURL

from deploy.release.inventory import Distribution
from deploy.release.licences import Rules, library_name

PROPERTY: Final = "osteo-tiles:"
_LICENCES: Final = LicenseFactory()
_SPDX_OF_CC: Final = {"CC BY 3.0": "CC-BY-3.0", "CC BY 4.0": "CC-BY-4.0"}
"""SPDX names of licences that manifests spell as Creative Commons does."""


def sha256(value: str) -> HashType:
    """A SHA-256 in hexadecimal."""
    return HashType(alg=HashAlgorithm.SHA_256, content=value)


def python_component(
    name: str,
    version: str,
    licence: str,
    *,
    hashes: Sequence[str] = (),
    marker: str = "",
    installed: Distribution | None = None,
    rules: Rules,
) -> Component:
    """A Python package, with the shared libraries that its installed wheel bundles.

    Args:
        name: canonical.
        version: of the package.
        licence: SPDX expression.
        hashes: SHA-256 of each file that the lock file allows to be installed.
        marker: condition under which the lock file installs it.
        installed: what is installed under this name, if this version is.
        rules: have the licences of bundled libraries.

    Raises:
        LicenceError: the licence of a bundled library is not known.
    """
    purl = PackageURL("pypi", name=name, version=version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        comment="SHA-256 of each file that the lock file allows",
        hashes=map(sha256, hashes),
    )
    libraries = installed.libraries if installed else {}
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=[_LICENCES.make_from_string(licence)],
        external_references=[files] if hashes else [],
        properties=[Property(name=f"{PROPERTY}marker", value=marker)] if marker else [],
        components=[
            Component(
                type=ComponentType.FILE,
                name=file_name,
                bom_ref=f"{purl.to_string()}#{file_name}",
                hashes=[sha256(value)],
                licenses=[_LICENCES.make_from_string(rules.of_library(file_name))],
                description=f"{library_name(file_name)}, bundled in the wheel of {name}",
            )
            for file_name, value in libraries.items()
        ],
    )


def debian_component(package: Mapping[str, str], system: str) -> Component:
    """A Debian package; its licence is in /usr/share/doc of the image, if the image has it."""
    qualifiers = {"arch": package.get("Architecture", ""), "distro": system}
    purl = PackageURL(
        "deb", system.partition("-")[0], package["Package"], package["Version"], qualifiers
    )
    source = package.get("Source", package["Package"])
    return Component(
        type=ComponentType.LIBRARY,
        name=package["Package"],
        version=package["Version"],
        bom_ref=purl.to_string(),
        purl=purl,
        properties=[Property(name=f"{PROPERTY}debian-source", value=source)],
    )


def bundle_component(name: str, sha256_of_manifest: str, manifest: Mapping[str, Any]) -> Component:
    """A bundle, descended from the tiles and weights that its manifest names.

    Args:
        name: NAME/VERSION.
        sha256_of_manifest: identifies the bundle, since the manifest has the SHA-256 of every file.
        manifest: content of manifest.json.
    """
    model_name, _, version = name.partition("/")
    data = [manifest["data"]] if manifest.get("data") else []
    sources = [*data, *manifest.get("supplements", [])]
    ancestors = [
        _data_component(source, f"bundle:{name}#data-{i}") for i, source in enumerate(sources)
    ]
    if manifest.get("weights"):
        ancestors.append(_weights_component(manifest["weights"], f"bundle:{name}#weights"))
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=model_name,
        version=version,
        bom_ref=f"bundle:{name}",
        description=manifest.get("intended_use", ""),
        hashes=[sha256(sha256_of_manifest)],
        licenses=[_LICENCES.make_from_string("Apache-2.0")],
        properties=[Property(name=f"{PROPERTY}sha256-of", value="manifest.json")],
        pedigree=Pedigree(
            ancestors=ancestors,
            notes="Trained on the data and from the weights that are named as ancestors, which are "
            "not part of it. Their licences ask for attribution: see NOTICE.",
        ),
        components=[
            Component(
                type=ComponentType.FILE,
                name=path,
                bom_ref=f"bundle:{name}#{path}",
                hashes=[sha256(file["sha256"])],
            )
            for path, file in sorted(manifest.get("files", {}).items())
        ],
    )


def _data_component(source: Mapping[str, Any], ref: str) -> Component:
    licence = source.get("licence") or "unknown"
    return Component(
        type=ComponentType.DATA,
        name=source["name"],
        bom_ref=ref,
        licenses=[_LICENCES.make_from_string(_SPDX_OF_CC.get(licence, licence))],
        copyright=source.get("citation"),
        external_references=[
            ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(url))
            for url in [source.get("url")]
            if url
        ],
    )


def _weights_component(weights: Mapping[str, Any], ref: str) -> Component:
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=weights["name"],
        bom_ref=ref,
        licenses=[_LICENCES.make_from_string(weights.get("licence") or "unknown")],
        hashes=[sha256(weights["sha256"])] if weights.get("sha256") else [],
    )
