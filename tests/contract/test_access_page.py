"""The set-ups and the table of scopes of docs/access.md, as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from app.access.caller import Scope
from app.api.route_scopes import ALWAYS_OPEN, required_scope
from tests.access.oidc.conftest import node, provider  # noqa: F401 - fixtures
from tests.access.oidc.provider import AUDIENCE, Provider
from tests.authorities import Authority
from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.contract.shell import run_shell
from tests.described import openapi_document
from tests.forking import APP, RUN_APP, server_of
from tests.server.ingresses import around, running
from tests.servers import free_port

PAGE: Final = (REPOSITORY / "docs" / "access.md").read_text()
TILE: Final = "osteo-mobilenetv2/4/golden/drawn_non_viable_tumor.png"
ANSWER: Final = '{"prediction":"'
STATUS: Final = "curl -sS -o answer -w '%{http_code}\\n'"
IN_BACKGROUND: Final = """\
.venv/bin/osteo serve > serve.log 2>&1 &
trap 'kill %1' EXIT
until curl -sfk -o /dev/null {url}/readyz; do kill -0 %1 || {{ cat serve.log; exit 1; }}; sleep 0.05
done
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `.venv/bin/osteo` and a tile."""
    script = tmp_path / ".venv" / "bin" / "osteo"
    script.parent.mkdir(parents=True)
    forked = f"import sys; from tests.forking import call; sys.exit(call({server_of(APP)!r}, "
    forked += f"{RUN_APP!r}, ['osteo', *sys.argv[1:]]))"
    script.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={REPOSITORY}\n"
        f'exec {sys.executable} -c {shlex.quote(forked)} "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    shutil.copy(RELEASED_MODELS / TILE, tmp_path / "tile.jpg")
    return tmp_path


def blocks(number: int, language: str = "") -> list[str]:
    """The blocks of code of a set-up."""
    section = re.split(r"^## Set-up \d: .*$", PAGE, flags=re.M)[number]
    found = re.findall(r"^```([a-z]*)\n(.*?)^```$", section, re.M | re.S)
    return [code for named, code in found if named == language]


def type_setup(
    number: int, folder: Path, more: str, used: Mapping[str, str], url: str | None = None
) -> str:
    """Type the commands of a set-up and a few more; return all that they print.

    Args:
        number: of the set-up.
        folder: in which the commands are typed.
        more: commands that follow.
        used: what takes the place of names and addresses of the page.
        url: of the service, on a free port.
    """
    url = url or f"http://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    commands = "".join([*blocks(number), more])
    for documented, value in used.items():
        assert documented in commands
        commands = commands.replace(documented, value)
    assert commands.count(".venv/bin/osteo serve\n") == 1
    start = IN_BACKGROUND.format(url=url)
    return run_shell(
        commands.replace(".venv/bin/osteo serve\n", start).replace(":8000", f":{port}"),
        folder,
        OSTEO_STATE_DIR=str(folder / "state"),
        OSTEO_PORT=port,
        CURL_CA_BUNDLE=str(folder / "ingress.pem"),
    )


def test_keys_behind_an_ingress(folder: Path) -> None:
    authority = Authority(folder, "ingress")
    issued = authority.issue("localhost")
    service_port, port = free_port(), free_port()
    (configuration,) = blocks(1, "nginx")
    for documented, used_here in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/nginx/tls.crt", str(issued.certificate)),
        ("/etc/nginx/tls.key", str(issued.key)),
        ("127.0.0.1:8000", f"127.0.0.1:{service_port}"),
    ):
        assert documented in configuration
        configuration = configuration.replace(documented, used_here)
    url = f"https://localhost:{port}"
    more = f"""
head -c 3000000 /dev/zero > large
{STATUS} -D headers {url}/v1/models
{STATUS} -H "X-API-Key: $KEY" {url}/v1/models
{STATUS} -H "Authorization: Bearer $KEY" -F file=@large {url}/v1/classify
{STATUS} -H "Authorization: Bearer $KEY" {url}/metrics
cat headers
.venv/bin/osteo audit find --file tile.jpg --json
"""
    with running("nginx", folder, around(folder, configuration), port):
        used = {"https://tiles.hospital.example": url}
        printed = type_setup(1, folder, more, used, f"http://127.0.0.1:{service_port}")
    assert ANSWER in printed
    assert "401\n200\n415\n404\n" in printed
    assert "strict-transport-security: max-age=31536000" in printed.lower()
    assert '"caller":"lis"' in printed


def test_tokens_of_an_identity_provider(folder: Path, provider: Provider) -> None:  # noqa: F811 - the imported fixture
    more = f"""
U=http://tiles.hospital.example:8000
{STATUS} $U/v1/models
{STATUS} -H "Authorization: Bearer $TOKEN" $U/v1/models
{STATUS} -H "Authorization: Bearer $TOKEN" -F file=@tile.jpg $U/v1/explain
{STATUS} -H "Authorization: Bearer ${{TOKEN}}x" $U/v1/models
"""
    used = {
        "http://tiles.hospital.example": "http://127.0.0.1",
        "https://tiles.hospital.example": AUDIENCE,
        "https://login.hospital.example/realms/pathology": provider.issuer,
        "scanner:SECRET": "scanner:a-secret-of-the-tests",
        "-d scope=classify": f"-d scope=classify -d resource={AUDIENCE}/RS256",
    }
    printed = type_setup(2, folder, more, used)
    assert ANSWER in printed
    assert "401\n200\n403\n401\n" in printed


@pytest.mark.skipif(
    shutil.which("openssl") is None and not os.environ.get("REQUIRE_CLIENT_TOOLS"),
    reason="openssl is not installed",
)
def test_client_certificates(folder: Path) -> None:
    more = f"""
for _ in {{1..600}}; do
  code=$({STATUS} --cacert ca.pem --cert lis.crt --key lis.key https://localhost:8000/v1/models)
  [ $code = 200 ] || break
  sleep 0.1
done
echo $code
grep -o '"reason":"[a-z]*"' answer
{STATUS} --cacert ca.pem https://localhost:8000/v1/models
grep -o '"caller": "[^"]*"' serve.log
"""
    printed = type_setup(3, folder, more, {}, f"https://127.0.0.1:{free_port()}")
    assert ANSWER in printed
    assert '401\n"reason":"revoked"\n401\n' in printed
    assert '"caller": "CN=lis,O=Hospital,C=DE"' in printed


def scopes_of_the_page() -> dict[tuple[str, str, str], str]:
    """What the table says of each method, path and query."""
    table = re.split(r"^## ", PAGE, flags=re.M)[1]
    assert table.startswith("Scopes\n")
    return {
        (method, path, query): cell
        for requests, cell in re.findall(r"^\| (`.*?) \| (.*) \|$", table, re.M)
        for method, path, query in re.findall(r"`([A-Z]+) ([^`?]+)\??([^`]*)`", requests)
    }


def test_the_table_says_which_scope_each_route_needs() -> None:
    stated = scopes_of_the_page()
    for (method, path, query), cell in stated.items():
        scope = required_scope(method, path.replace("{version}", "2"), query.encode())
        if scope is not None:
            assert cell.startswith(f"`{scope.value}`"), path
        else:
            is_open = path in ALWAYS_OPEN
            assert cell.startswith("open" if is_open else "any identified caller"), path
    routes = {
        (method.upper(), path)
        for path, operations in openapi_document()["paths"].items()
        for method in operations
    }
    assert routes <= {(method, path) for method, path, _ in stated}


def test_scopes_that_no_route_needs_are_named() -> None:
    needed = " ".join(scopes_of_the_page().values())
    for scope in Scope:
        assert f"`{scope}`" in needed or scope in {Scope.SLIDES, Scope.AUDIT_READ}
        assert f"`{scope}`" in PAGE
