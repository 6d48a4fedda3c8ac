"""Files that cannot be used: the error names the variable and the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.errors import SettingsError
from app.server.tls import TlsFiles, build_context
from tests.authorities import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def files(authority: Authority) -> TlsFiles:
    server = authority.issue("server")
    return TlsFiles(server.certificate, server.key, authority.certificate)


def reason_of(files: TlsFiles) -> str:
    with pytest.raises(SettingsError) as raised:
        build_context(files)
    return str(raised.value)


@pytest.mark.parametrize("name", ["certificate", "key", "client_ca"])
@pytest.mark.parametrize("content", [None, b"", b"no PEM", bytes(range(256))])
def test_file_that_cannot_be_used_is_named(
    files: TlsFiles, name: str, content: bytes | None
) -> None:
    path: Path = getattr(files, name)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    reason = reason_of(files)
    assert reason.startswith(f"OSTEO_TLS_{name.upper()} ({path}) cannot be used: ")
    assert ("No such file" in reason) == (content is None)


@pytest.mark.parametrize("name", ["certificate", "key", "client_ca"])
def test_damaged_file_is_named(files: TlsFiles, name: str) -> None:
    path: Path = getattr(files, name)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "MIIB" + "A" * 60, *lines[2:]]))
    assert f"OSTEO_TLS_{name.upper()} ({path})" in reason_of(files)


def test_key_of_another_certificate_is_an_error(authority: Authority, files: TlsFiles) -> None:
    other = authority.issue("other")
    reason = reason_of(TlsFiles(files.certificate, other.key))
    assert "the key belongs to another certificate" in reason
    assert str(other.key) in reason
    assert str(files.certificate) in reason


def test_encrypted_key_is_an_error_and_not_a_question(authority: Authority) -> None:
    locked = authority.issue("locked", is_locked=True)
    reason = reason_of(TlsFiles(locked.certificate, locked.key))
    assert reason.startswith(f"OSTEO_TLS_KEY ({locked.key}) cannot be used: it is encrypted")


def test_stamps_change_when_the_file_behind_a_link_is_replaced(
    authority: Authority, tmp_path: Path
) -> None:
    server = authority.issue("server")
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tls.crt").write_bytes(server.certificate.read_bytes())
    data = tmp_path / "..data"
    data.symlink_to(tmp_path / "one")
    files = TlsFiles(data / "tls.crt", server.key)
    before = files.stamps()
    assert files.stamps() == before
    (tmp_path / "new").symlink_to(tmp_path / "two")
    (tmp_path / "new").rename(data)  # as Kubernetes replaces a mounted Secret
    assert files.stamps() != before
    server.key.unlink()
    assert files.stamps()[1] is None
