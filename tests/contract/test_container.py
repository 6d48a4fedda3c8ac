"""The image holds the newest bundle and no installer; Compose limits what a container can take."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from app.bundle import find_bundle, list_versions
from app.settings import Settings
from tests.conftest import REPOSITORY

PROBLEMS: Final = "docs/problems.md"
DOCKERFILE: Final = (REPOSITORY / "Dockerfile").read_text()
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]


def override(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "deploy" / name).read_text())
    return content


def default(value: object) -> str:
    """The value of `${NAME:-value}` if the variable is not set."""
    return re.sub(r"\$\{[A-Z_]+:-(.*?)\}", r"\1", str(value))


def n_bytes(size: str) -> int:
    return int(size[:-1]) * {"m": 1024**2, "g": 1024**3}[size[-1].lower()]


def test_image_contains_the_newest_bundle() -> None:
    named = re.search(r"^ARG BUNDLE=(.*)$", DOCKERFILE, re.M)
    newest = find_bundle(REPOSITORY / "models", "osteo-mobilenetv2")
    assert named
    assert newest.relative_to(REPOSITORY / "models").as_posix() == named[1]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_image_has_no_installer(target: str) -> None:
    stages = re.split(r"^FROM .* AS ([\w-]+)$", DOCKERFILE, flags=re.M)
    stage = dict(zip(stages[1::2], stages[2::2], strict=True))
    # `cpu` copies what another stage has installed.
    text = stage.get(f"build-{target}", "") + stage[target]
    _, removed, after = re.split(r"pip uninstall --yes --quiet (.*)$", text, flags=re.M)
    assert {"pip", "hatchling", "editables", "trove-classifiers"} <= set(removed.split())
    assert "pip" not in after
    assert "USER 10001:0" in stage[target]


def test_image_contains_the_pages_of_problems() -> None:
    assert (REPOSITORY / "app" / "api" / "problems.md").readlink().as_posix().endswith(PROBLEMS)
    assert DOCKERFILE.count(f"COPY {PROBLEMS} {PROBLEMS}\n") == DOCKERFILE.count("COPY app app\n")
    assert f"!{PROBLEMS}\n" in (REPOSITORY / ".dockerignore").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_container_is_limited(name: str) -> None:
    service = SERVICES[name]
    memory = n_bytes(default(service["mem_limit"]))
    assert 0 < memory <= n_bytes("2g")
    assert service["memswap_limit"] == service["mem_limit"]  # no swap
    assert 0 < float(default(service["cpus"])) <= 2
    assert 0 < service["pids_limit"] <= 256
    options = service["logging"]["options"]
    assert n_bytes(options["max-size"]) * int(options["max-file"]) <= n_bytes("100m")
    for mount in service["tmpfs"]:
        (size,) = re.findall(r"\bsize=(\w+)", default(mount))
        assert n_bytes(size) < memory / 4


@pytest.mark.parametrize("name", SERVICES)
def test_container_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {
        "privileged",
        "cap_add",
        "network_mode",
        "pid",
        "ipc",
        "userns_mode",
    }
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_models_are_mounted_read_only_over_those_of_the_image() -> None:
    mount, _ = SERVICES["osteo"]["volumes"]
    assert (mount["target"], mount["read_only"]) == ("/models", True)
    assert "OSTEO_MODELS_DIR=/models" in DOCKERFILE
    folder = REPOSITORY / default(mount["source"])
    assert len(list_versions(folder, Settings().model_name)) > 1, "there is one to roll back to"


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "osteo"])
def test_no_container_runs_as_root(name: str) -> None:
    user = SERVICES[name]["user"].split(":")[0]
    assert int(user) > 0
    assert "user" not in SERVICES["osteo"]  # the image's own: see test_image_has_no_installer


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "osteo"])
def test_image_of_the_monitoring_is_pinned_and_can_be_another(name: str) -> None:
    assert re.fullmatch(
        rf"\$\{{{name.upper()}_IMAGE:-[\w./-]+:v?\d+\.\d+\.\d+\}}", SERVICES[name]["image"]
    )


@pytest.mark.parametrize("name", SERVICES)
def test_wait_means_that_the_container_is_healthy(name: str) -> None:
    """`docker compose up --wait` waits for a health check only where there is one."""
    if name == "osteo":
        assert DOCKERFILE.count("HEALTHCHECK ") == 2
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert "depends_on" not in SERVICES[name]  # the monitoring runs where the service does not


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_container_keeps_is_in_a_volume(name: str) -> None:
    """Everything else is mounted read-only, so a container can be replaced."""
    for mount in SERVICES[name]["volumes"]:
        if isinstance(mount, dict):
            assert mount["read_only"] is True
            assert mount["bind"] == {"create_host_path": False}
        else:
            source, _, target = mount.partition(":")
            assert target.endswith(":ro") or source in COMPOSE["volumes"]


def test_what_the_monitoring_reads_is_in_the_repository() -> None:
    for name in ("prometheus", "alertmanager", "grafana"):
        mounts = SERVICES[name]["volumes"]
        sources = [default(m["source"] if isinstance(m, dict) else m.split(":")[0]) for m in mounts]
        files = [source for source in sources if source.startswith("./")]
        assert files
        assert all((REPOSITORY / file).exists() for file in files)


def test_grafana_has_no_account_and_changes_nothing() -> None:
    given = SERVICES["grafana"]["environment"]
    assert given["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert given["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    dashboards = [m for m in SERVICES["grafana"]["volumes"] if "dashboards" in m]
    home = given["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert [m.split(":")[1:] for m in dashboards] == [[str(PurePosixPath(home).parent), "ro"]]


def test_prometheus_stores_a_bounded_amount() -> None:
    prometheus = SERVICES["prometheus"]
    assert any(
        option.startswith("--storage.tsdb.retention.size=") for option in prometheus["command"]
    )
    configuration, data = prometheus["volumes"]
    assert configuration.endswith(":ro")
    assert data.split(":")[0] in COMPOSE["volumes"]


def test_memory_covers_a_costly_tile_on_each_core() -> None:
    """docs/limits.md adds up what a service with the default settings needs."""
    settings = Settings()
    n_cores = int(default(SERVICES["osteo"]["cpus"]))
    service = n_bytes("400m")
    needed = service + n_cores * settings.max_decode_bytes + settings.max_upload_bytes
    assert needed <= n_bytes(default(SERVICES["osteo"]["mem_limit"]))


def set_by_image(target: str) -> dict[str, str]:
    """Settings that the image sets for itself."""
    _, stage = re.split(rf"^FROM .* AS {target}$", DOCKERFILE, flags=re.M)
    variables = stage.partition("COPY ")[0]
    return dict(re.findall(r"(OSTEO_[A-Z_]+)=(\S+)", variables))


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_image_keeps_keys_and_audit_in_a_folder_of_group_0(target: str) -> None:
    variables = set_by_image(target)
    assert variables["OSTEO_STATE_DIR"] == "/var/lib/osteo"
    assert variables["OSTEO_CREATE_FIRST_KEY"] == "true"
    assert (
        DOCKERFILE.count("RUN install -d -o 10001 -g 0 -m 0770 /var/lib/osteo\nUSER 10001:0") == 2
    )


def test_compose_keeps_the_state_in_a_volume() -> None:
    _, state = SERVICES["osteo"]["volumes"]
    volume, _, folder = state.partition(":")
    assert folder == set_by_image("cpu")["OSTEO_STATE_DIR"]
    assert volume in COMPOSE["volumes"]
    assert SERVICES["osteo"]["hostname"]  # the chain of the audit has its name


def test_compose_removes_no_variable_of_the_image() -> None:
    """A variable without a value in the list removes the image's own, if the shell has none."""
    given = {name: value for name, _, value in passed()}
    assert given["OSTEO_CREATE_FIRST_KEY"] == "${OSTEO_CREATE_FIRST_KEY:-true}"
    others = set(set_by_image("cpu")) - {"OSTEO_CREATE_FIRST_KEY"}
    assert not others & given.keys()


def passed() -> list[tuple[str, str, str]]:
    """Variables that Compose passes on: the name, `=` or nothing, the value."""
    return [entry.partition("=") for entry in SERVICES["osteo"]["environment"]]


def test_compose_opens_metrics_and_pages_to_this_machine_only() -> None:
    given = {name: default(value) for name, _, value in passed() if value}
    assert given == {
        "OSTEO_CREATE_FIRST_KEY": "true",
        "OSTEO_METRICS_OPEN": "true",
        "OSTEO_DOCS_OPEN": "true",
    }
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["osteo"]["ports"])


def test_gpu_image_names_the_folders_of_nvidias_libraries() -> None:
    """TensorFlow 2.21 looks into all but one of them, and then uses no GPU."""
    (listed,) = re.findall(r"ls -d (\S+) > /etc/ld\.so\.conf\.d/", DOCKERFILE)
    assert listed == "/opt/venv/lib/python3*/site-packages/nvidia/*/lib"
    assert re.search(r"ld\.so\.conf\.d/.*\\\n && ldconfig", DOCKERFILE)


def test_kernels_of_cuda_are_kept_with_the_state_and_bounded() -> None:
    assert "CUDA_CACHE_PATH=/var/lib/osteo/" in DOCKERFILE
    (most_bytes,) = re.findall(r"CUDA_CACHE_MAXSIZE=(\d+)", DOCKERFILE)
    assert int(most_bytes) <= n_bytes("256m")
    assert any(
        str(each).startswith("state:/var/lib/osteo") for each in SERVICES["osteo"]["volumes"]
    )


def test_gpu_container_has_limits_of_its_own() -> None:
    service = override("compose-gpu.yml")["services"]["osteo"]
    assert n_bytes(default(service["mem_limit"])) > n_bytes("2g")
    assert service["memswap_limit"] == service["mem_limit"]
    assert {"cpus", "pids_limit"} <= service.keys()
