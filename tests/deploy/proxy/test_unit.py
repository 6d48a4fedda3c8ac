"""The unit of systemd: its settings, its wait, and the first key that docs/ingress.md creates."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.access.keys import bearer, make_key
from tests.conftest import REPOSITORY
from tests.deploy.proxy.replicas import ReplicatedService
from tests.forking import ForkedProcess
from tests.server.ingresses import shipped_configuration
from tests.servers import free_port, running_server, wait_until


def unit_settings(state: Path) -> dict[str, str]:
    """Variables that the unit sets, with another state folder."""
    unit = shipped_configuration("systemd").replace("/var/lib/osteo", str(state))
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.M))


def create_documented_key(state: Path) -> str:
    """Run the command of docs/ingress.md, as this user and with another state folder."""
    page = (REPOSITORY / "docs" / "ingress.md").read_text().replace("\\\n", " ")
    found = re.search(r"^sudo -u osteo (env .* keys create .*)$", page, re.M)
    assert found
    _, *words = found[1].replace("/var/lib/osteo", str(state)).split()
    program = words.index("/opt/osteo/current/.venv/bin/osteo")
    environ = dict(word.split("=", 1) for word in words[:program])
    with ForkedProcess(
        words[program + 1 :], cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        key, _ = process.communicate()
    assert process.returncode == 0
    return str(key).strip()


def test_replica_of_the_unit_refuses_everybody_until_the_documented_key_exists(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    port = str(free_port())
    settings = {name: value.replace("%i", port) for name, value in unit_settings(state).items()}
    with running_server(tmp_path, **settings) as server:
        server.wait_until_ready()
        url = f"{server.url}/v1/models"
        assert server.client.get(url, timeout=60).status_code == 401
        headers = bearer(create_documented_key(state))
        wait_until(lambda: server.client.get(url, headers=headers, timeout=60).status_code == 200)
    assert (state / "audit.sqlite3").is_file(), "the creation of the key is recorded"


@pytest.mark.parametrize(
    "program", ["nginx", pytest.param("haproxy", marks=pytest.mark.exhaustive)]
)
def test_replicas_of_the_unit_share_uploads_and_have_audits_of_their_own(
    program: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    key = make_key(state / "keys.json", "lab")
    with (
        ReplicatedService(
            program, tmp_path, checkout=None, waits_as_documented=False, **unit_settings(state)
        ) as service,
        service.ingress.client() as client,
    ):
        client.headers.update(key)
        begun = client.post("/v1/uploads", headers={"Upload-Length": "4000"}).json()
        path = f"/v1/uploads/{begun['id']}"
        for n_sent in range(0, 4000, 1000):  # the replicas get requests in turn
            headers = {"Upload-Offset": str(n_sent), "Tus-Resumable": "1.0.0"}
            headers["Content-Type"] = "application/offset+octet-stream"
            answer = client.patch(path, content=bytes(1000), headers=headers)
            assert answer.status_code == 204, answer.text
        for replica in service.replicas:
            assert replica.server is not None
            url = f"{replica.server.url}{path}"
            assert httpx2.get(url, headers=key, timeout=60).json()["offset"] == 4000
            audit = state / f"audit-{replica.address[1]}.sqlite3"
            assert audit.is_file()


def test_systemd_never_gives_up_starting_the_unit() -> None:
    unit = shipped_configuration("systemd")
    found = re.search(r"^RestartSec=(\d+)$", unit, re.M)
    assert found
    assert "Restart=always" in unit
    assert 5 * int(found[1]) > 10, "systemd gives up after 5 starts within 10 s, its defaults"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("REQUIRE_CLIENT_TOOLS"),
    reason="install systemd: there is no systemd-analyze",
)
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "osteo@8001.service"
    text = shipped_configuration("systemd")
    unit.write_text(text.replace("/opt/osteo/current/.venv/bin/osteo", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_start_of_the_unit_is_over_when_the_replica_is_ready(tmp_path: Path) -> None:
    found = re.search(r"^ExecStartPost=/bin/sh -c '(.*)'$", shipped_configuration("systemd"), re.M)
    assert found
    wait = found[1].replace(".venv/bin/python", sys.executable).removesuffix("; sleep 3")
    with running_server(tmp_path) as server:
        environ = {"OSTEO_PORT": str(server.address[1]), "PATH": "/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-c", wait], cwd=REPOSITORY, env=environ, check=True)
        assert server.client.get(f"{server.url}/readyz").status_code == 200
