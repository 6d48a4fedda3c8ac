"""Clients of tus that others wrote upload slides to a running service."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.tools import Tools, install
from tests.servers import RunningServer, running_server

PROGRAMS = Path(__file__).parent / "tus"
N_BYTES = 5_000_017
CHUNK_BYTES = 1_000_000


@pytest.fixture(scope="session")
def tools() -> Tools:
    """tus-js-client and tuspy; without a network the tests are skipped, but never in CI."""
    try:
        return install(PROGRAMS, "tus")
    except AssertionError as error:
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            raise
        pytest.skip(f"the clients of tests/api/slides/tus cannot be installed: {error}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("service")
    with running_server(folder, OSTEO_STATE_DIR=str(folder / "state")) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(N_BYTES)


@pytest.fixture
def file(tmp_path: Path, content: bytes, tools: Tools) -> Path:
    """The file, beside the programs and what they import."""
    for program in ("upload.mjs", "upload.py"):
        shutil.copy(PROGRAMS / program, tmp_path)
    (tmp_path / "node_modules").symlink_to(tools.folder / "node_modules")
    path = tmp_path / "DOE_JANE_1971.svs"
    path.write_bytes(content)
    return path


def stored(tmp_path_factory: Any, url: str) -> bytes:
    name = url.strip().rsplit("/", 1)[1]
    (found,) = tmp_path_factory.getbasetemp().rglob(f"incoming/{name}")
    assert isinstance(found, Path)
    return found.read_bytes()


def test_tus_js_client_uploads(
    tools: Tools, server: RunningServer, file: Path, content: bytes, tmp_path_factory: Any
) -> None:
    url = tools.run(
        "node", "upload.mjs", f"{server.url}/v1/uploads", file, CHUNK_BYTES, cwd=file.parent
    )
    assert stored(tmp_path_factory, url) == content


def test_tus_js_client_resumes_after_it_was_ended_in_the_middle(
    tools: Tools, server: RunningServer, file: Path, content: bytes, tmp_path_factory: Any
) -> None:
    begun = tools.run(
        *("node", "upload.mjs", f"{server.url}/v1/uploads", file, CHUNK_BYTES, CHUNK_BYTES),
        cwd=file.parent,
    ).strip()
    n_kept = int(server.client.head(begun).headers["Upload-Offset"])
    assert 0 < n_kept < N_BYTES
    resumed = tools.run(
        *("node", "upload.mjs", f"{server.url}/v1/uploads", file, N_BYTES, begun),
        cwd=file.parent,
    )
    assert resumed.strip() == begun
    assert stored(tmp_path_factory, resumed) == content


def test_tuspy_uploads(
    tools: Tools, server: RunningServer, file: Path, content: bytes, tmp_path_factory: Any
) -> None:
    url = tools.run(
        "python", "upload.py", f"{server.url}/v1/uploads/", file, CHUNK_BYTES, cwd=file.parent
    )
    assert stored(tmp_path_factory, url) == content


def test_name_of_the_file_is_neither_kept_nor_logged(
    tools: Tools, server: RunningServer, file: Path, tmp_path_factory: Any
) -> None:
    endpoint = f"{server.url}/v1/uploads"
    tools.run("node", "upload.mjs", endpoint, file, CHUNK_BYTES, cwd=file.parent)
    assert "DOE" not in str(server.events())
    state = next(tmp_path_factory.getbasetemp().rglob("service*/state"))
    assert not [path for path in state.rglob("*") if "DOE" in path.name]
