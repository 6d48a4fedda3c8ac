"""The list of third-party licences, with the text of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from deploy.release.errors import LicenceError
from deploy.release.inventory import Distribution
from deploy.release.licences import Rules, library_name

_HEAD: Final = """\
Third-party licences of osteo-tiles {version}: {part}

osteo-tiles is licensed under the Apache License, Version 2.0 (LICENSE). NOTICE has the attribution
of the training tiles (CC BY 3.0) and of the pretrained weights. Research use only; not a medical
device. This list has the Python packages and the shared libraries in them. The licences of an
image's Debian packages are in its folder /usr/share/doc, unless its base image leaves them out.
"""
_NO_TEXT: Final = "The package has no licence file.\n"


def third_party_notices(
    part: str,
    version: str,
    packages: Iterable[str],
    installed: Mapping[str, Distribution],
    rules: Rules,
) -> str:
    """List the licences of what an image contains, and check that it may contain it.

    Args:
        part: what is listed, such as `serve`.
        version: of osteo-tiles.
        packages: canonical names.
        installed: packages by canonical name; hold the texts.
        rules: say what may be shipped.

    Raises:
        LicenceError: one or several packages have no known licence, or one that must not be
            shipped; the message names all of them.
    """
    rows, texts, problems = [], [], []
    for name in sorted(packages):
        found = installed.get(name)
        try:
            rows += _rows(name, found, rules)
        except LicenceError as error:
            problems.append(str(error))
        texts.append(_text(name, found))
    if problems:
        raise LicenceError("\n".join(problems))
    return "\n".join((_HEAD.format(version=version, part=part), *rows, "", *texts))


def _rows(name: str, found: Distribution | None, rules: Rules) -> list[str]:
    licence = rules.of_package(name, found)
    libraries = (
        {library_name(one): rules.of_library(one) for one in found.libraries} if found else {}
    )
    rows = []
    for one, expression in {name: licence, **libraries}.items():
        rules.check_shipped(one, expression)
        reason = "" if rules.is_permissive(expression) else rules.reason_allowed(one)
        version = found.version if found and one == name else "" if found else "(not installed)"
        indented = one if one == name else f"  {one}"
        rows.append(f"{indented:40} {version:16} {expression}")
        if reason:
            rows.append(f"{'':40} {'':16} {reason}")
    return rows


def _text(name: str, found: Distribution | None) -> str:
    version = f" {found.version}" if found else ""
    head = f"{'=' * 78}\n{name}{version}\n{'=' * 78}\n"
    files = found.licence_texts if found else {}
    if not files:
        return head + _NO_TEXT
    return head + "\n".join(f"--- {path}\n\n{text.strip()}\n" for path, text in files.items())
