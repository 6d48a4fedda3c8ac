from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.access.api_keys import ApiKeys
from app.access.caller import Scope
from app.access.key_changes import KeyChange
from app.access.key_file import read_key_file
from app.cli.commands import app
from tests.cli.program import command, run, run_limited, sentences

runner = CliRunner()


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OSTEO_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "keys.json"


def osteo_keys(*arguments: object) -> Result:
    done = runner.invoke(app, ["keys", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def created(name: str, *arguments: object) -> str:
    done = osteo_keys("create", name, "--scope", "classify", *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout.removesuffix("\n")


def listed(*arguments: object) -> list[dict[str, object]]:
    document: list[dict[str, object]] = json.loads(osteo_keys("list", "--json", *arguments).stdout)
    return document


def test_created_key_alone_is_on_standard_output(path: Path) -> None:
    done = osteo_keys("create", "scanner-2", "--scope", "explain", "--scope", "classify")
    assert done.exit_code == 0
    key = done.stdout.removesuffix("\n")
    assert re.fullmatch(r"osteo_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", key)
    caller = ApiKeys(path).find(key)
    assert caller.name == "scanner-2"
    assert caller.scopes == {Scope.CLASSIFY, Scope.EXPLAIN}
    assert key not in done.stderr
    assert "Created the key scanner-2 with classify, explain." in done.stderr
    assert str(path) in done.stderr


def test_key_expires_after_a_year_unless_said_otherwise(path: Path) -> None:
    done = osteo_keys("create", "scanner", "--scope", "classify")
    ends = read_key_file(path)[0].keys[0].expires_at
    assert ends is not None
    assert f"expires on {ends:%Y-%m-%d at %H:%M} UTC" in done.stderr
    year = timedelta(days=365)
    assert ends - datetime.now(UTC) == pytest.approx(year, abs=timedelta(hours=1))


@pytest.mark.parametrize(
    ("typed", "expires_at"),
    [
        ("never", None),
        ("2099-03-01", "2099-03-01T00:00:00Z"),
        ("2099-03-01T12:00:00+02:00", "2099-03-01T10:00:00Z"),
    ],
)
def test_expires_takes_never_and_dates(typed: str, expires_at: str | None) -> None:
    created("scanner", "--expires", typed)
    assert listed()[0]["expires_at"] == expires_at


def test_list_shows_states_and_no_secret() -> None:
    keys = [created(name) for name in ("in-use", "turned", "gone")]
    keys.append(osteo_keys("rotate", "turned").stdout.strip())
    osteo_keys("revoke", "gone")
    created("cert", "--subject", "CN=\x1b[31mred", "--expires", "never")
    table = osteo_keys("list").stdout
    lines = [re.split(r"\s{2,}", line) for line in table.splitlines()]
    assert [line[0] for line in lines] == ["NAME", "in-use", "turned", "gone", "cert"]
    assert [line[2] for line in lines[1:]] == ["valid", "rotating", "revoked", "valid"]
    assert lines[4][4:] == ["never", r"CN=\x1b[31mred"]
    assert [key["state"] for key in listed()] == ["valid", "rotating", "revoked", "valid"]
    document = osteo_keys("list", "--json").stdout
    for key in keys:
        assert key.split("_", 2)[2] not in table + document
    assert "sha256" not in document


def test_list_shows_expired_keys(path: Path) -> None:
    created("scanner", "--expires", "2099-03-01")
    path.write_text(path.read_text().replace("2099-03-01", "2020-03-01"))
    assert listed()[0]["state"] == "expired"


def test_list_without_keys_says_how_to_create_one(path: Path) -> None:
    done = osteo_keys("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"There are no keys in {path}. Create one with `osteo keys create`." in done.stderr
    assert listed() == []
    assert not path.parent.exists()


def test_rotate_prints_the_new_key_and_keeps_the_old_for_a_while(path: Path) -> None:
    old = created("scanner")
    done = osteo_keys("rotate", "scanner", "--overlap", "12h")
    keys = ApiKeys(path)
    assert keys.find(old) == keys.find(done.stdout.strip())
    assert "new secret; the old one expires on" in done.stderr
    done = osteo_keys("rotate", "scanner", "--overlap", "0h")
    assert "the old one is no longer valid" in done.stderr
    assert len(read_key_file(path)[0].keys[0].secrets) == 1


def test_file_is_chosen_by_option_setting_or_state_folder(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created("in-state")
    monkeypatch.setenv("OSTEO_KEYS_FILE", str(tmp_path / "setting.json"))
    created("in-setting")
    created("in-option", "--file", tmp_path / "option.json")
    files = [path, tmp_path / "setting.json", tmp_path / "option.json"]
    names = [[entry.name for entry in read_key_file(file)[0].keys] for file in files]
    assert names == [["in-state"], ["in-setting"], ["in-option"]]


CLASSIFY = ("--scope", "classify")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "b"], "Name at least one scope: classify, explain"),
        (["create", "b", "--scope", "clasify"], "'clasify' is not a scope. The scopes are"),
        (["create", "a", *CLASSIFY], "A key named 'a' exists already. Choose another name"),
        (["create", "a b", *CLASSIFY], "'a b' is not a name for a key. Use 1 to 64 letters"),
        (["create", "b", *CLASSIFY, "--expires", "soon"], "Write a duration such as 90d or 12h"),
        (["create", "b", *CLASSIFY, "--expires", "0d"], "would never be valid. Give a later time"),
        (["create", "b", *CLASSIFY, "--expires", "99999d"], "'99999d' is not a time"),
        (["create", "b", *CLASSIFY, "--expires", "2020-01-01"], "would never be valid"),
        (["create", "b", *CLASSIFY, "--expires", "2099-01-01T00:00:00"], "lacks a time zone"),
        (["create", "b", *CLASSIFY, "--expires", "0001-01-01T00:00:00+01:00"], "is not a time"),
        (["rotate", "b"], "There is no key named 'b'"),
        (["rotate", "a", "--overlap", "-1d"], "--overlap '-1d' is not a duration. Write 12h"),
        (["rotate", "a", "--overlap", "2099-01-01"], "is not a duration"),
        (["revoke", "b"], "There is no key named 'b'"),
        (["list", "--file", "/"], "cannot be read: Is a directory"),
        (["create", "b", *CLASSIFY, "--file", "/dev/null/keys.json"], "Not a directory"),
    ],
)
def test_mistake_is_one_sentence_and_changes_nothing(
    path: Path, arguments: list[str], sentence: str
) -> None:
    created("a")
    before = path.read_bytes()
    done = osteo_keys(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [["create", "b", "--scope"], ["create"], ["rotate"], ["revoke"]]
)
def test_pasted_key_is_not_repeated(arguments: list[str]) -> None:
    key = created("scanner")
    done = osteo_keys(*arguments, key, *(CLASSIFY if arguments == ["create"] else ()))
    assert done.exit_code == 2
    assert key.split("_", 2)[2][:8] not in done.stdout + done.stderr


def test_misspelt_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_KEY_FILE", "keys.json")
    done = osteo_keys("list")
    assert done.exit_code == 2
    assert "Did you mean OSTEO_KEYS_FILE?" in done.stderr


def test_every_change_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[KeyChange] = []
    monkeypatch.setattr("app.cli.keys.record_change", changes.append)
    created("scanner")
    osteo_keys("rotate", "scanner")
    osteo_keys("rotate", "nobody")
    osteo_keys("revoke", "scanner")
    assert [(change.action, change.key_name) for change in changes] == [
        ("create", "scanner"),
        ("rotate", "scanner"),
        ("revoke", "scanner"),
    ]


def test_change_that_cannot_be_recorded_is_not_made(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created("scanner")
    before = path.read_bytes()
    (tmp_path / "file").touch()
    monkeypatch.setenv("OSTEO_AUDIT_URL", f"sqlite:///{tmp_path}/file/audit.sqlite3")
    for arguments in (["create", "b", *CLASSIFY], ["rotate", "scanner"], ["revoke", "scanner"]):
        done = osteo_keys(*arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "Nothing was changed" in done.stderr
        assert path.read_bytes() == before, arguments


def test_only_key_of_a_file_says_that_an_open_service_stays_open() -> None:
    for name, is_said in (("a", True), ("b", False)):
        done = osteo_keys("create", name, *CLASSIFY)
        assert ("started open" in done.stderr) is is_said
        assert ("stays open until it is restarted" in done.stderr) is is_said
    told = " ".join(osteo_keys("--help").stdout.replace("\u2502", " ").split())
    assert "stays open until it is restarted" in told


@pytest.mark.parametrize(
    ("made_for", "n_days"), [("1d", 1), ("never", None), ("9999-12-31", None), ("12w", 84)]
)
def test_rotated_key_lives_as_long_as_the_old_one(
    path: Path, made_for: str, n_days: int | None
) -> None:
    created("scanner", "--expires", made_for)
    for _ in range(2):
        osteo_keys("rotate", "scanner")
        secret = read_key_file(path)[0].keys[0].secrets[-1]
        if n_days is None:
            assert secret.expires_at is None or secret.expires_at.year == 9999
        else:
            assert secret.expires_at == secret.created_at + timedelta(days=n_days)
    osteo_keys("rotate", "scanner", "--expires", "2099-03-01")
    assert read_key_file(path)[0].keys[0].secrets[-1].expires_at == datetime(2099, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", [[], ["create"], ["list"], ["rotate"], ["revoke"]])
def test_every_command_has_help_with_an_example(name: list[str]) -> None:
    done = runner.invoke(app, ["keys", *name, "--help"])
    assert done.exit_code == 0
    assert not name or f"osteo keys {name[0]} " in done.stdout.replace("\n", " \n")


def test_key_can_be_kept_in_a_variable_of_a_shell(tmp_path: Path) -> None:
    done = run(command("keys", "create", "a", *CLASSIFY, "--file", tmp_path / "k.json"), tmp_path)
    assert done.returncode == 0
    key = done.stdout.decode().removesuffix("\n")
    assert ApiKeys(tmp_path / "k.json").find(key).name == "a"
    assert len(sentences(done.stderr)) == 1


def test_folder_that_may_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    arguments = ("keys", "create", "a", *CLASSIFY, "--file", locked / "keys.json")
    done = run_limited(command(*arguments), tmp_path, is_ordinary_user=True)
    assert (done.returncode, done.stdout) == (2, b"")
    (sentence,) = sentences(done.stderr)
    assert "keys.json cannot be written: Permission denied. Nothing was changed." in sentence
