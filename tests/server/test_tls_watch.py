"""Certificates that change without a signal, as a mounted Secret does."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from app.server.tls import TlsFiles
from app.server.tls_renewal import RenewedTls
from tests.authorities import Authority, Issued


class Secret:
    """A Secret as Kubernetes mounts it: links to a folder behind a link that is replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._n_versions = 0
        self.files = TlsFiles(folder / "tls.crt", folder / "tls.key")
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(folder / "..data" / name)

    def replace(self, certificate: bytes, key: bytes) -> None:
        self._n_versions += 1
        version = self._folder / f"..version-{self._n_versions}"
        version.mkdir()
        (version / "tls.crt").write_bytes(certificate)
        (version / "tls.key").write_bytes(key)
        link = self._folder / "..data_tmp"
        link.symlink_to(version)
        link.rename(self._folder / "..data")

    def install(self, issued: Issued) -> None:
        self.replace(issued.certificate.read_bytes(), issued.key.read_bytes())


def test_replaced_secret_is_read_without_a_signal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").mkdir()
    authority, secret = Authority(tmp_path, "authority"), Secret(tmp_path / "secret")
    secret.install(authority.issue("first", days=10))

    async def renew() -> list[float]:
        expiries: list[float] = []
        is_read = asyncio.Event()

        def note(expires_at: float) -> None:
            expiries.append(expires_at)
            is_read.set()

        tls = RenewedTls(secret.files, note)
        watch = asyncio.create_task(tls.keep_renewed(check_s=0.01))
        is_read.clear()
        first = tls.context.newest
        secret.replace(b"broken", b"broken")
        while "tls_not_renewed" not in caplog.text:  # noqa: ASYNC110 - the log sets no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # further checks of the same file
        assert tls.context.newest is first
        secret.install(authority.issue("second", days=20))
        await asyncio.wait_for(is_read.wait(), 60)
        assert tls.context.newest is not first
        watch.cancel()
        return expiries

    with caplog.at_level(logging.INFO):
        first, second = asyncio.run(renew())
    assert second - first == pytest.approx(10 * 86_400, abs=600)
    assert caplog.text.count("tls_not_renewed") == 1, "a broken file is reported once"
