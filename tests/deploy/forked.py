"""Programs that check what is shipped, forked from a process that has imported what they need."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from tests.forking import ForkedProcess

MODULES: Final = (
    *("deploy.release.commands", "cyclonedx.validation.json", "pip_audit._cli"),
    "kubernetes_validate",
)
"""Their imports take seconds: the grammar of addresses in JSON schemas is compiled each time."""


def run_forked(
    code: str, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments, in a folder, to its end."""
    with ForkedProcess(
        list(arguments),
        modules=MODULES,
        code=code,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        output, errors = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)
