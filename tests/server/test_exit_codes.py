"""The exit codes of `osteo serve`, and the address that it prints."""

from __future__ import annotations

import os
import pty
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings.variables import OTHER_VARIABLES
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.servers import serve_until_it_ends

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def taken_port() -> Iterator[str]:
    """A port that is taken at every address."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.create_server(
        ("", 0), family=family, dualstack_ipv6=family == socket.AF_INET6
    ) as taken:
        yield str(taken.getsockname()[1])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1"]
    + [pytest.param(host, marks=pytest.mark.exhaustive) for host in ("0.0.0.0", "localhost")]  # noqa: S104 - nothing listens there
    + [pytest.param("::1", marks=(needs_ipv6, pytest.mark.exhaustive))]
    + [pytest.param("::", marks=needs_ipv6)],
)
def test_taken_port_is_exit_code_1(tmp_path: Path, taken_port: str, host: str) -> None:
    run = serve_until_it_ends(tmp_path, OSTEO_HOST=host, OSTEO_PORT=taken_port, OSTEO_AUTH="none")
    assert run.returncode == 1
    assert "address already in use" in run.stderr.lower()
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_address_of_another_machine_is_exit_code_1(tmp_path: Path, host: str) -> None:
    run = serve_until_it_ends(
        tmp_path, "--host", host, "--port", "0", OSTEO_AUTH="none", OSTEO_AUDIT="off"
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [((), {"OSTEO_PORT": "many"}), (("--port", "x"), {}), (("--por",), {})],
)
def test_wrong_setting_or_option_is_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    assert serve_until_it_ends(tmp_path, *arguments, **environ).returncode == 2


def test_misspelt_setting_is_exit_code_2_and_names_the_nearest(tmp_path: Path) -> None:
    run = serve_until_it_ends(tmp_path, OSTEO_PROT="9000")
    assert run.returncode == 2
    assert re.search(r"OSTEO_PROT is not a setting\. Did you mean OSTEO_PORT", run.stderr)


def test_variables_of_other_programs_do_not_stop_the_server(
    tmp_path: Path, taken_port: str
) -> None:
    run = serve_until_it_ends(
        tmp_path, "--port", taken_port, **dict.fromkeys(OTHER_VARIABLES, "anything")
    )
    assert run.returncode == 1, "it went as far as the port"


def test_exit_codes_are_in_the_help_and_hold(tmp_path: Path, taken_port: str) -> None:
    run = serve_until_it_ends(tmp_path, "--help")
    assert run.returncode == 0
    text = " ".join(run.stdout.split())
    assert "Exit code 0: it stopped as asked. 1: it could not start (the port is taken" in text
    started = serve_until_it_ends(tmp_path, "--port", taken_port)
    assert (started.returncode, started.stdout) == (1, "")


@pytest.mark.parametrize("host", ["2001:db8::7", "fe80::a:b", "::ffff:1.2.3.4"])
def test_ipv6_address_is_printed_as_a_url(host: str) -> None:
    ours, theirs = pty.openpty()
    with ForkedProcess(
        ["serve", "--host", host, "--port", "8123"],  # of another machine, so it ends
        stdin=theirs,
        stderr=theirs,
        cwd=REPOSITORY,
        env={"COLUMNS": "200"},
    ) as process:
        os.close(theirs)
        printed = os.read(ours, 4096).decode()
        process.kill()
    os.close(ours)
    assert f"http://[{host}]:8123/docs - Research use only" in printed
