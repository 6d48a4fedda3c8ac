"""Draw the dashboard of a service under load, from a real Prometheus, into docs/monitoring.png.

    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.dashboard

It needs Prometheus (Debian: prometheus). The load changes: a quiet time, eight clients at once,
more than the service takes, and a quiet time with tiles whose colours were swapped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from app.access.caller import OPEN_SCOPES
from app.access.key_changes import create_key
from app.bundle import find_bundle
from app.settings import read_settings
from benchmarks.dashboard.draw import draw_dashboard
from benchmarks.dashboard.load import send_changing_load
from benchmarks.dashboard.panels import read_panels
from benchmarks.dashboard.prometheus import running_prometheus
from benchmarks.environments import REPOSITORY
from benchmarks.processes import running
from benchmarks.servers import OURS, SERVERS
from benchmarks.tiles import TILES_HELP, collect_tiles

_PICTURE: Final = REPOSITORY / "docs" / "monitoring.png"
_SCRAPE_S: Final = 2
_RATE_S: Final = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--tiles", type=Path, help=TILES_HELP)
    parser.add_argument("--phase-s", type=float, default=60.0, help="seconds of each phase (60)")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            _draw(Path(folder), options.tiles, options.phase_s)
    except (OSError, RuntimeError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(f"wrote {_PICTURE.relative_to(REPOSITORY)}")
    return 0


def _draw(folder: Path, tiles: Path | None, phase_s: float) -> None:
    _, files = collect_tiles(tiles)
    contents = [file.read_bytes() for file in files]
    settings = read_settings()
    in_a_month = datetime.now(UTC) + timedelta(days=30)
    key = create_key(folder / "keys.json", "lis", OPEN_SCOPES, in_a_month).key
    service = replace(
        SERVERS[OURS],
        env={
            "OSTEO_KEYS_FILE": str(folder / "keys.json"),
            "OSTEO_STATE_DIR": str(folder / "state"),
            "OSTEO_METRICS_OPEN": "true",
            "OSTEO_AUDIT": "on",
            "OSTEO_DRIFT_WINDOW_TILES": "400",
        },
    )
    bundle_dir = find_bundle(settings.models_dir, settings.model_name)
    with (
        running(service, bundle_dir) as server,
        running_prometheus(folder, f"127.0.0.1:{server.port}", interval_s=_SCRAPE_S) as prometheus,
    ):
        begin_s = time.time()
        send_changing_load(server.port, key, contents, phase_s)
        draw_dashboard(
            read_panels(rate_interval_s=_RATE_S),
            prometheus,
            begin_s=begin_s + _RATE_S,
            end_s=time.time(),
            step_s=_SCRAPE_S,
            file=_PICTURE,
        )


if __name__ == "__main__":
    sys.exit(main())
