"""A real Orthanc with its DICOMweb plug-in, which tests start, fill and stop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.servers import free_port, wait_until

USER, PASSWORD = "archive", "hidden-password"
_PLUGIN: Final = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_TIMEOUT_S: Final = 120.0


def require_orthanc() -> str:
    """Debian's Orthanc; without it the test is skipped, but never in CI."""
    found = shutil.which("Orthanc")
    if found is None or not _PLUGIN.exists():
        reason = "Orthanc is not installed: apt-get install orthanc orthanc-dicomweb"
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Orthanc:
    """Listens on a port of its own and asks for a name and a password."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://{USER}:{PASSWORD}@127.0.0.1:{self.port}/dicom-web"
        self.url_without_password = f"http://127.0.0.1:{self.port}/dicom-web"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        configuration = self._folder / "orthanc.json"
        configuration.write_text(
            json.dumps(
                {
                    "StorageDirectory": f"{self._folder}/storage",
                    "IndexDirectory": f"{self._folder}/storage",
                    "Plugins": [str(_PLUGIN)],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                    "HttpPort": self.port,
                    "DicomServerEnabled": False,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": True,
                    "RegisteredUsers": {USER: PASSWORD},
                }
            )
        )
        with (self._folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [require_orthanc(), configuration], cwd=self._folder, stdout=log, stderr=log
            )
        wait_until(self._is_ready)

    def store(self, paths: Iterable[Path]) -> None:
        """Store files through Orthanc's own interface."""
        for path in paths:
            answer = httpx2.post(
                f"http://127.0.0.1:{self.port}/instances",
                content=path.read_bytes(),
                auth=(USER, PASSWORD),
                timeout=_TIMEOUT_S,
            )
            answer.raise_for_status()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "orthanc.log").read_text()[-2000:]
        try:
            answer = httpx2.get(
                f"{self.url_without_password}/studies", auth=(USER, PASSWORD), timeout=_TIMEOUT_S
            )
        except httpx2.TransportError:
            return False
        return answer.status_code == 200
