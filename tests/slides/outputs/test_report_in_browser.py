"""The report in a real browser, which obeys the page's policy and shows its pictures."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.slides.outputs.report import write_report
from tests.slides.outputs.making import make_overview, make_square, make_subject

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser() -> str:
    """Debian's chromium; without it the test is skipped."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("no browser is installed: apt-get install chromium")
    return found


def test_report_shows_tissue_classes_and_intervals_without_a_complaint(
    browser: str, tmp_path: Path
) -> None:
    subject = make_subject(tmp_path)
    overview = make_overview(list(subject.rows), subject.summary, 600)
    write_report(tmp_path / "report.html", overview, subject, make_square)
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(
                "--enable-logging=stderr",
                "--window-size=1240,1100",
                "--force-device-scale-factor=1",
            ),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'page.png'}"),
            (tmp_path / "report.html").as_uri(),
        ],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert said == [], "what the policy forbids, the browser says on its console"
    with Image.open(tmp_path / "page.png") as picture:
        page = np.asarray(picture.convert("RGB"), np.int16)
    left, right = page[:, : page.shape[1] // 2], page[:, page.shape[1] // 2 :]
    red, green, blue = np.moveaxis(right, -1, 0)
    # The maps hold most of what is visible: vermilion and blue only on the right, tissue only left.
    assert ((red > green + 80) & (red > blue + 100)).mean() > 0.02
    assert ((blue > red + 60) & (blue > green + 40)).mean() > 0.02
    red, green, blue = np.moveaxis(left, -1, 0)
    assert ((red > green + 20) & (blue > green + 10)).mean() > 0.05
    assert ((red > green + 80) & (red > blue + 100)).mean() < 0.01
