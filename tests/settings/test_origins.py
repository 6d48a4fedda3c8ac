from __future__ import annotations

import pytest

from app.core.errors import SettingsError
from app.settings import read_settings


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://viewer.example.org", ("https://viewer.example.org",)),
        (" http://a:8080 , https://B.Lab,", ("http://a:8080", "https://b.lab")),
        ("https://a:443,http://a:80,http://a:443", ("https://a", "http://a", "http://a:443")),
        ("http://[::1]:3000,http://10.0.0.7", ("http://[::1]:3000", "http://10.0.0.7")),
        ("http://a,http://a", ("http://a",)),
        ("*", ("*",)),
        ("", ()),
        (" , ", ()),
    ],
)
def test_origins_are_those_that_browsers_send(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("OSTEO_CORS_ORIGINS", text)
    assert read_settings().allowed_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        *("viewer.example.org", "localhost:3000", "//a", "https://", "null", "file:///tmp"),
        *("https://a/", "https://a/viewer", "https://a?x", "https://user@a", "https://a:99999"),
        *("https://*.a", "https://a https://b", "https://grün.de", "['https://a']"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("OSTEO_CORS_ORIGINS", f"https://good.example,{text}")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert str(caught.value).startswith(f"OSTEO_CORS_ORIGINS: {text!r} is not an origin such as ")


def test_no_origin_is_allowed_by_default() -> None:
    assert read_settings().allowed_origins == ()
