"""What `nvidia-smi` says of the first GPU; nothing on a machine without one."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

_SMI: Final = "nvidia-smi"
_SAMPLE_EVERY_MS: Final = 200


def describe_card() -> dict[str, str] | None:
    """Name, driver and memory of the GPU; None if there is none."""
    fields = ("name", "driver_version", "memory.total")
    values = _query(",".join(fields))
    return dict(zip(fields, values.split(", "), strict=True)) if values else None


def used_memory_mib() -> float | None:
    """Memory of the GPU that is in use by any process, in MiB; None without a GPU."""
    used = _query("memory.used")
    return float(used.split()[0]) if used else None


@dataclass(slots=True)
class Utilisation:
    """Samples of the share of time in which a kernel ran, in percent."""

    percents: list[float] = field(default_factory=list)

    @property
    def median_percent(self) -> float | None:
        """The median; None without samples."""
        return statistics.median(self.percents) if self.percents else None


@contextmanager
def sampled_utilisation() -> Iterator[Utilisation]:
    """Sample the GPU during the block; the samples are there at its end."""
    seen = Utilisation()
    if shutil.which(_SMI) is None:
        yield seen
        return
    with tempfile.TemporaryFile("w+") as output:
        command = [*_command("utilization.gpu"), f"--loop-ms={_SAMPLE_EVERY_MS}"]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        try:
            yield seen
        finally:
            process.terminate()
            process.wait()
            output.seek(0)
            seen.percents += [
                float(line) for line in output.read().splitlines() if line.strip().isdigit()
            ]


def _query(fields: str) -> str | None:
    if shutil.which(_SMI) is None:
        return None
    done = subprocess.run(_command(fields), capture_output=True, text=True, check=False, timeout=30)
    lines = done.stdout.splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def _command(fields: str) -> list[str]:
    return [_SMI, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
