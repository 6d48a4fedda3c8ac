"""`/docs` in a real browser, under the policy that is sent with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi_offline import FastAPIOffline

from app.api import docs_page
from tests.end_to_end.services import ready_service
from tests.servers import serving

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser() -> str:
    """Debian's chromium; without it the test is skipped."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("no browser is installed: apt-get install chromium")
    return found


@pytest.fixture(params=["one route", pytest.param("all", marks=pytest.mark.exhaustive)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of the service, or of an application with one of its routes, which is faster."""
    if request.param == "all":
        with ready_service(tmp_path, OSTEO_DOCS_OPEN="1") as server:
            yield server.url
    else:
        app = FastAPIOffline(title="Osteo", docs_url=None)
        app.include_router(docs_page.build_router(app.title))
        app.post("/v1/classify", tags=["tiles"], operation_id="classify")(lambda: None)
        with serving(app) as (host, port):
            yield f"http://{host}:{port}"


def test_docs_page_works_under_its_policy(browser: str, url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--enable-logging=stderr", "--virtual-time-budget=60000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"{url}/docs#/tiles/classify"),
        ],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert 'id="operations-tiles-classify"' in done.stdout, done.stdout[-2000:] + done.stderr
    assert "opblock-body" in done.stdout, "the operation of the link is open"
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert said == [], "what the policy forbids, the browser says on its console"
