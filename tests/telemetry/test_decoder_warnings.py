"""Pillow's warnings neither fill the log nor stay in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.files import FILES
from tests.conftest import REPOSITORY
from tests.servers import running_server

PROGRAM = """
import sys, warnings
from pathlib import Path
from PIL import Image, TiffImagePlugin
from app.core.tile import decode_tile
from app.telemetry.logs import configure_logs
configure_logs("debug")
decode_tile(Path(sys.argv[1]).read_bytes())
print(len(getattr(TiffImagePlugin, "__warningregistry__", {}).keys() - {"version"}))
warnings.warn("of another library")
Image.MAX_IMAGE_PIXELS = 10
try:
    Image.open(sys.argv[1])
except Image.DecompressionBombWarning as error:
    print(type(error).__name__)
except Image.DecompressionBombError as error:
    print(type(error).__name__)
Image.MAX_IMAGE_PIXELS = 64 * 64 - 1
try:
    Image.open(sys.argv[1])
except Image.DecompressionBombWarning as error:
    print(type(error).__name__)
"""


def test_warnings_about_a_tile_are_ignored(tmp_path: Path) -> None:
    tile = tmp_path / "tile"
    tile.write_bytes(FILES["warnings_without_end"]())
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tile)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    (line,) = run.stderr.splitlines()
    assert "of another library" in json.loads(line)["event"]
    assert run.stdout.split() == ["0", "DecompressionBombError", "DecompressionBombWarning"]


@pytest.mark.slow
def test_server_logs_one_line_for_a_tile_that_makes_pillow_warn(tmp_path: Path) -> None:
    with running_server(tmp_path, OSTEO_LOG_LEVEL="debug") as server:
        server.wait_until_ready()
        for name in ("warnings_without_end", "many_image_chunks", "exif_of_many_tags"):
            server.client.post(f"{server.url}/v1/classify", content=FILES[name](), timeout=60)
        server.stop()
        events = server.events()
    assert len([event for event in events if event.get("route") != "/readyz"]) < 60
    assert not [event for event in events if "PIL" in str(event)]
