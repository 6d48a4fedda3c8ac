"""What a slide process is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.jobs.opening import open_queue
from app.jobs.slide_messages import SlideOrder, order_of
from app.settings import Settings
from tests.jobs.requests import a_request

GIVEN: dict[str, Any] = {
    "slide_timeout_s": 12.5,
    "slide_memory_bytes": 10**9,
    "precision": "int8",
    "review_max_distance": 0.3,
    "cors_origins": "https://viewer.example.org",
    "slide_mounts": "archive=/mnt/archive",
    "oidc_issuer": "https://id.example.org",
    "oidc_audience": "osteo",
    "rate_limits": "classify=600/minute",
}
SECRETS: dict[str, Any] = {
    "api_key": "a-secret-of-the-service",
    "admin_token": "another-secret-of-the-service",
    "audit_url": "postgresql://osteo:hunter2@db/osteo",
    "jobs_url": "postgresql://osteo:hunter2@db/osteo",
    "rate_limit_url": "redis://:hunter2@redis:6379/0",
}


def order(settings: Settings, path: Path) -> SlideOrder:
    queue = open_queue(Settings(state_dir=settings.state_dir))
    job, _ = queue.submit(a_request(mpp=0.5, min_tissue_share=0.2))
    queue.close()
    return order_of(job, path, settings.state_dir / "results", settings)


def test_order_has_the_settings_without_the_secrets(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, **GIVEN, **SECRETS)
    sent = order(settings, tmp_path / "slide").model_dump_json()
    assert "secret-of" not in sent
    assert "hunter2" not in sent
    received = SlideOrder.model_validate_json(sent).read_settings()
    expected = {name: value for name, value in settings if not isinstance(value, SecretStr)}
    expected |= {"model_name": "osteo-mobilenetv2", "model_version": "3"}
    assert expected == {name: value for name, value in received if name not in SECRETS}
    assert len(expected) + len(SECRETS) == len(Settings.model_fields)


@pytest.mark.parametrize(("folder", "may_name_others"), [("state", False), ("mount", True)])
def test_only_slides_in_a_mount_may_name_other_files(
    folder: str, may_name_others: bool, tmp_path: Path
) -> None:
    path = tmp_path / folder / "slide"
    assert order(Settings(state_dir=tmp_path / "state"), path).allow_companions == may_name_others
