from __future__ import annotations

from pathlib import Path

from benchmarks.training import render_report
from benchmarks.training_memory import index_of


def test_index_repeats_files_until_there_are_enough(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    index = index_of(files, 5)
    assert [Path(tile.file).name for tile in index.tiles] == [
        *("a.jpg", "b.jpg", "a.jpg", "b.jpg", "a.jpg")
    ]
    assert len({tile.name for tile in index.tiles}) == 5


def test_report_shows_memory_growth_and_features_on_disk() -> None:
    report = render_report(
        {
            "machine": {"date": "today", "cores": 2, "cpu": "a CPU", "load_at_start": 0.1},
            "tiles": "drawn",
            "rates": [
                {"what": "decode, one thread", "tiles_per_s": 250.4, "busy": 0.5, "cpu_ms": 4.0}
            ],
            "memory": [
                {
                    "n_tiles": 100_000,
                    "seconds": 60.0,
                    "started_mib": 300.0,
                    "peak_mib": 340.0,
                    "features_mib": 488.3,
                    "on_disk": True,
                    "all_at_once_mib": 14_355.0,
                }
            ],
        }
    )
    assert "250 |       50 % |               4.0" in report
    assert (
        "| 100,000 |      60 |        340 |         +40 |  488 (on disk) |          14,355 |"
        in report
    )
