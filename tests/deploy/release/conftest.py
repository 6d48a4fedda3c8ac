"""pip-audit without its imports."""

from __future__ import annotations

import sys

import pytest

from deploy.release import programs
from tests.conftest import REPOSITORY
from tests.deploy.forked import MODULES
from tests.forking import server_of

_PROGRAM = "import sys; from pip_audit._cli import audit; sys.exit(audit())"


@pytest.fixture
def _forked_pip_audit(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process runs as pip-audit is forked, which saves a second each time."""
    script = tmp_path_factory.mktemp("bin") / "pip-audit"
    script.write_text(
        f"#!{sys.executable} -S\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from tests.forking import call\n"
        f"sys.exit(call({server_of(MODULES)!r}, {_PROGRAM!r}, sys.argv))\n"
    )
    script.chmod(0o755)
    installed = programs.find

    def find(program: str) -> str:
        return str(script) if program == "pip-audit" else installed(program)

    monkeypatch.setattr(programs, "find", find)
