from __future__ import annotations

import pytest

from app.core.errors import SettingsError
from app.settings import read_settings


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"OSTEO_TLS_CERTIFICATE": "a.crt"}, "OSTEO_TLS_KEY must be set too"),
        ({"OSTEO_TLS_KEY": "a.key"}, "OSTEO_TLS_CERTIFICATE must be set too"),
        ({"OSTEO_TLS_CLIENT_CA": "ca.pem"}, "OSTEO_TLS_CERTIFICATE and OSTEO_TLS_KEY must be set"),
    ],
)
def test_half_of_tls_is_refused_and_the_rest_is_named(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], missing: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=missing) as raised:
        read_settings()
    assert str(raised.value).count(".") == 1, "one sentence"


def test_certificate_and_key_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_TLS_CERTIFICATE", "a.crt")
    monkeypatch.setenv("OSTEO_TLS_KEY", "a.key")
    assert read_settings().tls_client_ca is None
