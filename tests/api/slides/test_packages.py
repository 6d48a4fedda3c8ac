from __future__ import annotations

import re
import tomllib
from unittest import mock

from fastapi.testclient import TestClient

from tests.conftest import REPOSITORY


def test_routes_need_the_packages_of_the_extra_and_no_other(client: TestClient) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    packages = [
        re.split(r"[<>=\[]", package)[0] for package in project["optional-dependencies"]["slides"]
    ]
    modules = {name.removesuffix("-python").replace("-", "_") for name in packages}

    def find_spec(name: str) -> object | None:
        return name if name in modules else None

    with mock.patch("app.api.slide_access.find_spec", find_spec):
        assert client.get("/v1/slides").status_code == 200
