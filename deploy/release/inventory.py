"""List what is installed: Python packages, Debian packages, bundles.

This file is also a program that needs only the standard library. `images.py` sends it to the
Python of an image, which has no pip, and reads the JSON that it prints.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import platform
import re
import sys
import sysconfig
from collections.abc import Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_LICENCE_FILE = re.compile(r"(^|/)(licen[cs]e|copying|copyright|notice|authors)[^/]*$", re.I)
_LIBRARY = re.compile(r"\.so(\.|$)")


@dataclass(frozen=True)
class Distribution:
    """An installed Python package.

    Attributes:
        name: as its metadata spells it.
        version: of the package.
        licence_expression: SPDX expression of its metadata; empty if there is none.
        licence_field: the free text that older packages have instead.
        classifiers: those about licences.
        licence_texts: contents of its licence files by path.
        libraries: SHA-256 of the shared libraries that its wheel bundles, by file name.
    """

    name: str
    version: str
    licence_expression: str = ""
    licence_field: str = ""
    classifiers: list[str] = field(default_factory=list)
    licence_texts: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)

    @property
    def canonical_name(self) -> str:
        """The name as lock files spell it (PEP 503)."""
        return _canonical(self.name)


@dataclass(frozen=True)
class Inventory:
    """What is installed in an environment or in an image.

    Attributes:
        python: version of the interpreter.
        machine: architecture, such as x86_64.
        system: ID and VERSION_ID of /etc/os-release, such as debian-12; empty if unknown.
        distributions: Python packages, by name.
        debian: fields Package, Version, Architecture and Source of each installed package.
        bundles: manifest and its SHA-256 of each bundle, by NAME/VERSION.
    """

    python: str
    machine: str
    system: str
    distributions: list[Distribution]
    debian: list[dict[str, str]]
    bundles: dict[str, dict[str, Any]]

    @classmethod
    def from_json(cls, text: str) -> Inventory:
        """Read what the program printed."""
        content = json.loads(text)
        content["distributions"] = [Distribution(**d) for d in content["distributions"]]
        return cls(**content)


def read_inventory(models_dir: Path, root: Path = Path("/")) -> Inventory:
    """List what the running interpreter, a folder of bundles and a file system contain."""
    return Inventory(
        python=platform.python_version(),
        machine=platform.machine(),
        system=_system(root),
        distributions=read_distributions(),
        debian=_read_debian(root),
        bundles=read_bundles(models_dir),
    )


def read_distributions(names: Set[str] | None = None) -> list[Distribution]:
    """List the Python packages of the running interpreter.

    They are those of site-packages: a module may add copies of its own to `sys.path`, as Ray does
    when it is imported.

    Args:
        names: canonical ones of the packages to list; all of them if None.
    """
    site_packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    found = {d.name: d for d in importlib.metadata.distributions(path=sorted(site_packages))}
    return [
        _read_distribution(found[name])
        for name in sorted(found, key=str.lower)
        if names is None or _canonical(name) in names
    ]


def read_bundles(models_dir: Path) -> dict[str, dict[str, Any]]:
    """Manifest (`manifest`) and its `sha256` of each bundle below a folder, by NAME/VERSION."""
    paths = sorted(models_dir.glob("*/*/manifest.json"))
    return {
        path.parent.relative_to(models_dir).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "manifest": json.loads(path.read_text(encoding="utf-8")),
        }
        for path in paths
    }


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read_distribution(found: importlib.metadata.Distribution) -> Distribution:
    metadata = found.metadata.json
    texts, libraries = {}, {}
    for file in found.files or ():
        if _LICENCE_FILE.search(str(file)) and file.suffix not in {".py", ".pyc", ".html"}:
            path = Path(str(found.locate_file(file)))
            if path.is_file():
                texts[str(file)] = path.read_text(encoding="utf-8", errors="replace")
        elif ".libs/" in str(file) and _LIBRARY.search(file.name) and file.hash:
            libraries[file.name] = base64.urlsafe_b64decode(f"{file.hash.value}=").hex()
    return Distribution(
        name=found.name,
        version=found.version,
        licence_expression=str(metadata.get("license_expression", "")),
        licence_field=str(metadata.get("license", "")),
        classifiers=[c for c in metadata.get("classifier", []) if c.startswith("License ::")],
        licence_texts=dict(sorted(texts.items())),
        libraries=dict(sorted(libraries.items())),
    )


def _system(root: Path) -> str:
    try:
        text = (root / "etc" / "os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    values = dict(re.findall(r'^(\w+)="?(.*?)"?$', text, re.M))
    return "-".join(values[name] for name in ("ID", "VERSION_ID") if values.get(name))


def _read_debian(root: Path) -> list[dict[str, str]]:
    """Installed packages of dpkg, or of an image without dpkg, which has status.d."""
    folder = root / "var" / "lib" / "dpkg"
    paths = [folder / "status", *sorted(folder.glob("status.d/*"))]
    stanzas = [s for path in paths if path.is_file() for s in _stanzas(path)]
    wanted = ("Package", "Version", "Architecture", "Source")
    packages = [
        {name: stanza[name] for name in wanted if name in stanza}
        for stanza in stanzas
        if "Version" in stanza and not re.search("not-installed|config-files", stanza["Status"])
    ]
    return sorted(packages, key=lambda package: (package["Package"], package["Version"]))


def _stanzas(path: Path) -> list[dict[str, str]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    return [
        {"Status": "", **dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.M))}
        for stanza in text.split("\n\n")
        if stanza.strip()
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(read_inventory(Path("/models")))))
