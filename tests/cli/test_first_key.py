"""What `osteo serve` says of the first key that it makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.access.api_keys import ApiKeys
from app.cli.commands import app


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of keys of a service that is to make the first one; it stops at once."""
    monkeypatch.setenv("OSTEO_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("OSTEO_CREATE_FIRST_KEY", "true")
    monkeypatch.setattr("app.server.run.serve", lambda _settings: 0)
    return tmp_path / "keys.json"


def serve() -> Result:
    return CliRunner().invoke(app, ["serve", "--host", "0.0.0.0"])  # noqa: S104 - nothing listens


def test_first_key_is_printed_with_the_commands_that_make_more_and_end_it(path: Path) -> None:
    done = serve()
    assert done.exit_code == 0
    (key,) = re.findall(r"osteo_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", done.stdout)
    assert ApiKeys(path).find(key).name == "first"
    said = " ".join(done.stdout.split())
    assert "`osteo keys create` makes more, `osteo keys revoke first` ends this one." in said
    assert "first" not in serve().stdout


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OSTEO_RATE_LIMITS", "classify=often"),
        ("OSTEO_AUDIT_URL", "sqlite:////dev/null/audit.sqlite3"),
    ],
)
def test_first_key_of_a_start_that_failed_is_printed_by_the_next_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    with monkeypatch.context() as wrong:
        wrong.setenv(variable, value)
        done = serve()
    assert (done.exit_code, done.stdout) == (2, "")
    assert variable in done.stderr
    assert not path.exists()
    assert "The first API key" in serve().stdout
