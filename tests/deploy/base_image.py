"""A base image without a registry: Python and what it needs, as they are on this machine.

It stands in for the Dockerfile's `python:3.11-slim-bookworm`, so it shows that the stages build and
that the service runs on so little. It says nothing about the official image.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.deploy.podman import CACHE, podman

_PROGRAMS: Final = (
    *("sh", "chmod", "install", "mkdir", "cp", "mv", "rm", "cat", "ls", "sleep"),
    "/sbin/ldconfig",
)
# What wheels may link to beside what Python itself does.
_LIBRARIES: Final = (
    *("libstdc++.so.6", "libgcc_s.so.1"),
    *("libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"),
)
_UNUSED: Final = ("site-packages", "dist-packages", "test", "__pycache__", "idlelib", "tkinter")
_LINKS: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_FOLDERS: Final = (
    "dev",
    "etc/ld.so.conf.d",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr/sbin",
    "usr/local/bin",
    "var/lib",
)
_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
}


def base_image() -> str:
    """Name of the base image, which is made if it is not there."""
    made_of = f"{sys.version} {sys.base_prefix} {Path(__file__).read_text()}"
    name = f"localhost/osteo-base:{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    if name.removeprefix("localhost/") not in podman(
        "images", "--format", "{{.Repository}}:{{.Tag}}"
    ):
        with tempfile.NamedTemporaryFile(dir=CACHE, suffix=".tar") as file:
            with tarfile.open(file.name, "w") as tar:
                _add_everything(tar)
            path = "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            podman("import", "--change", path, file.name, name)
    return name


def _add_everything(tar: tarfile.TarFile) -> None:
    tar.dereference = True
    for folder in _FOLDERS:
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
        tar.addfile(entry)
    for name, content in _FILES.items():
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content.encode()))
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    links = _LINKS | {f"usr/local/bin/{name}": str(python) for name in ("python", "python3")}
    for name, target in links.items():
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        tar.addfile(entry)
    standard = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    programs = [Path(found) for name in _PROGRAMS if (found := shutil.which(name))]
    tar.add(standard, str(standard)[1:], filter=_kept)
    wheels = Path("/usr/share/python-wheels")  # Debian's ensurepip
    if wheels.is_dir():
        tar.add(wheels, str(wheels)[1:])
    binaries = [python, *programs, *standard.glob("lib-dynload/*.so")]
    for file in {*map(_in_usr, [python, *programs]), *_libraries(binaries)}:
        tar.add(file, str(file)[1:], filter=_kept)


def _kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The entry as root's and readable by all; None if the service does not need it."""
    name = Path(entry.name).name
    if name in _UNUSED or name.startswith("config-"):
        return None
    entry.uid = entry.gid = 0
    entry.mode |= 0o555 if entry.isdir() or entry.mode & 0o100 else 0o444
    return entry


def _libraries(binaries: list[Path]) -> Iterator[Path]:
    """Shared libraries, and the loader, that the programs and modules link to."""
    listed = subprocess.run(
        ["/usr/bin/ldd", *map(str, binaries)], capture_output=True, text=True, check=False
    ).stdout
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    names = "|".join(map(re.escape, _LIBRARIES))
    also = re.findall(rf"^\t(?:{names}) .*x86-64.* => (\S+)$", known.stdout, re.M)
    for path in [*re.findall(r"^\t(?:.* => )?(/\S+) \(", listed, re.M), *also]:
        yield _in_usr(Path(path))


def _in_usr(file: Path) -> Path:
    """The file's path without the links of the root folder, such as `/lib`."""
    return file.parent.resolve() / file.name
