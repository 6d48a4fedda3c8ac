"""No secret is in anything that a service or a command says; only a new key is printed, once."""

from __future__ import annotations

import secrets as random_secrets
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import pytest

from app.settings import read_settings
from tests.access.oidc.key_server import KeyServer, key_server, sign
from tests.access.oidc.provider import new_rsa_key
from tests.access.redis_server import PASSWORD, RedisServer
from tests.audit.conftest import cluster, postgresql_url
from tests.audit.postgresql import Cluster
from tests.authorities import CLIENT_NAME, Authority
from tests.bundles import build_bundle
from tests.end_to_end.everything_said import Said, ask
from tests.end_to_end.services import ready_service, run_osteo
from tests.servers import RunningServer, wait_until
from tests.telemetry.collectors import Collector, collector

__all__ = ["cluster", "postgresql_url"]
AUDIENCE = "https://tiles.example"


@dataclass
class Site:
    """Everything secret at a site, and the services around the one that is tested."""

    folder: Path
    redis: RedisServer
    provider: KeyServer
    authority: Authority
    postgresql_url: str
    collector: Collector
    signing_key: dict[str, str] = field(default_factory=lambda: {**new_rsa_key(), "kid": "k1"})
    api_key: str = "given/key+" + random_secrets.token_urlsafe(24)
    admin_token: str = "admin:" + random_secrets.token_urlsafe(24)
    collector_path: str = "ingest-" + random_secrets.token_urlsafe(24)
    collector_token: str = "collector:" + random_secrets.token_urlsafe(24)
    database_password: str = "p@ss:w/rd%" + random_secrets.token_urlsafe(12)

    @cached_property
    def environ(self) -> dict[str, str]:
        server = self.authority.issue("server")
        database = self.postgresql_url.replace(
            "postgres@", f"postgres:{quote(self.database_password, safe='')}@"
        )
        return {
            "OSTEO_API_KEY": self.api_key,
            "OSTEO_ADMIN_TOKEN": self.admin_token,
            "OSTEO_OIDC_ISSUER": self.provider.issuer,
            "OSTEO_OIDC_AUDIENCE": AUDIENCE,
            "OSTEO_TLS_CERTIFICATE": str(server.certificate),
            "OSTEO_TLS_KEY": str(server.key),
            "OSTEO_TLS_CLIENT_CA": str(self.authority.certificate),
            "OSTEO_RATE_LIMITS": "classify=1000/day,explain=1/day",
            "OSTEO_RATE_LIMIT_URL": self.redis.url,
            "OSTEO_AUDIT": "required",
            "OSTEO_AUDIT_URL": database,
            "OSTEO_LOG_LEVEL": "debug",
            **self.collector.environ,
            "OSTEO_TRACES_URL": f"{self.collector.url}/{self.collector_path}/v1/traces",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={quote(self.collector_token)}",
        }

    def token(self, **claims: object) -> str:
        now = int(time.time())
        usual = {"iss": self.provider.issuer, "aud": AUDIENCE, "sub": "scanner", "exp": now + 3600}
        return sign(self.signing_key, "RS256", {**usual, "scope": "classify", **claims})


@pytest.fixture
def site(tmp_path: Path, postgresql_url: str) -> Iterator[Site]:
    authority_folder = tmp_path / "authority"
    authority_folder.mkdir()
    redis = RedisServer(tmp_path)
    redis.start()
    with key_server() as provider, collector() as found:
        authority = Authority(authority_folder, "hospital")
        site = Site(tmp_path, redis, provider, authority, postgresql_url, found)
        public = {name: site.signing_key[name] for name in ("kty", "n", "e", "kid")}
        provider.publish([{**public, "use": "sig"}])
        yield site
    redis.stop()


def pem_lines(path: Path) -> dict[str, str]:
    """Each line of base64 of a PEM file, by its number."""
    lines = path.read_text().splitlines()
    return {f"{path.name} line {n}": line for n, line in enumerate(lines) if line[:5] != "-----"}


def credentials(site: Site, created: str) -> dict[str, str]:
    """Headers that a caller may send, right and wrong ones; all of them are secret."""
    token = site.token()
    head, claims, signature = token.split(".")
    return {
        "given key": f"Authorization: Bearer {site.api_key}",
        "key": f"Authorization: Bearer {created}",
        "key in the other header": f"X-API-Key: {created}",
        "admin token": f"Authorization: Bearer {site.admin_token}",
        "token": f"Authorization: Bearer {token}",
        "expired token": f"Authorization: Bearer {site.token(exp=1)}",
        "token for others": f"Authorization: Bearer {site.token(aud='other')}",
        "changed token": f"Authorization: Bearer {head}.{claims[:-4]}AAAA.{signature}",
        "no signature": f"Authorization: Bearer {head}.{claims}.",
        "mistyped key": f"Authorization: Bearer {created[:-1]}!",
        "mistyped given key": f"Authorization: Bearer {site.api_key}x",
        "other scheme": f"Authorization: Basic {site.api_key}",
        "no scheme": f"Authorization: {created}",
        "two": f"Authorization: Bearer {created}\r\nX-API-Key: {site.api_key}",
        "query": "",
    }


def use(server: RunningServer, site: Site, said: Said, created: str, tls: ssl.SSLContext) -> None:
    """Send every credential everywhere, and what cannot be answered."""
    found = set()
    for line in credentials(site, created).values():
        for target in ("/v1/classify", "/v1/explain/grid", "/v1/models/rollback"):
            found.add(ask(server, said, target, *filter(None, [line]), tls=tls))
        for target in ("/v1/models", "/metrics", "/nothing", "/docs"):
            found.add(ask(server, said, target, *filter(None, [line]), method="GET", tls=tls))
    assert found >= {200, 401, 403, 404, 429}
    key = f"Authorization: Bearer {created}"
    assert ask(server, said, f"/v1/classify?key={created}", tls=tls) == 401
    assert ask(server, said, f"/v1/{created}", method="GET", tls=tls) == 401
    assert ask(server, said, "/v1/classify", key, body=b"no tile", tls=tls) == 415
    assert ask(server, said, "/v1/classify", key, "X-Request-ID: \x01", tls=tls) == 400
    assert ask(server, said, "/v1/classify", f"{key}\r\n folded", tls=tls) == 400
    assert ask(server, said, "/v1/classify", key, "X: " + "y" * 99_000, tls=tls) == 431
    assert ask(server, said, "/", f"Host: {created}", tls=tls) == 400


def settings_errors(site: Site, said: Said) -> None:
    """Start the service with settings that are wrong in some way."""
    database = site.environ["OSTEO_AUDIT_URL"]
    wrong = [
        {"OSTEO_API_KEY": site.api_key[:14]},
        {"OSTEO_API_KEYS": site.api_key},
        {"OSTEO_RATE_LIMIT_URL": f"redis://:{PASSWORD}@redis:x/0"},
        {"OSTEO_AUDIT_URL": f"postgresql+psycopg://osteo:{site.database_password}@db/osteo"},
        {"OSTEO_AUDIT_URL": database.replace("postgresql+psycopg", "nonsense")},
        {"OSTEO_TLS_KEY": str(site.authority.issue("other").key)},
        {"OSTEO_AUTH": "none"},
        {"OSTEO_TRACES_URL": f"{site.environ['OSTEO_TRACES_URL']}?key={site.collector_token}"},
    ]
    for change in wrong:
        done = run_osteo(site.folder, "serve", "--port", "0", **site.environ | change)
        assert done.returncode in {1, 2}, done.stderr
        said.add(f"settings error of {next(iter(change))}", done.stdout + done.stderr)


def use_while_parts_are_away(
    server: RunningServer, site: Site, said: Said, key: str, cluster: Cluster
) -> None:
    """Stop the collector, the provider's keys, Redis and PostgreSQL in turn."""
    tls = site.authority.trust()
    site.collector.status = 404
    assert ask(server, said, "/v1/classify", key, tls=tls) == 200
    wait_until(lambda: "trace_export_failing" in (site.folder / "serve.log").read_text())
    site.collector.status = 200
    site.provider.publish([])
    site.redis.stop()
    unknown = sign({**site.signing_key, "kid": "k2"}, "RS256", {"sub": "x"})
    status = ask(server, said, "/v1/classify", f"Authorization: Bearer {unknown}", tls=tls)
    assert status in {401, 503}
    assert ask(server, said, "/v1/classify", key, tls=tls) == 200
    cluster.stop("immediate")
    assert ask(server, said, "/v1/classify", key, tls=tls) == 503
    wait_until(lambda: "audit_failing" in (site.folder / "serve.log").read_text())
    cluster.start()
    wait_until(lambda: ask(server, said, "/v1/classify", key, tls=tls) == 200)
    assert ask(server, said, "/metrics", key, method="GET", tls=tls) == 200


def run_commands(site: Site, said: Said) -> str:
    """Run the commands of an operator; returns the key that one of them prints."""
    rotated = run_osteo(site.folder, "keys", "rotate", "lis", **site.environ)
    assert rotated.returncode == 0, rotated.stderr
    said.add("standard error of keys rotate", rotated.stderr)
    for command in (
        *("keys list", "audit export", "audit export -f csv"),
        *("audit verify", "keys revoke lis"),
    ):
        done = run_osteo(site.folder, *command.split(), **site.environ)
        said.add(command, done.stdout + done.stderr)
    build_bundle(site.folder / "models")  # its network opens at once
    models = {"OSTEO_MODELS_DIR": str(site.folder / "models")}
    done = run_osteo(site.folder, "doctor", **site.environ | models)
    assert "ok   bundle" in done.stdout
    said.add("doctor", done.stdout + done.stderr)
    return rotated.stdout.strip()


def secret_part(text: str) -> str:
    """A key begins with an id that lists show; a token with a header that all of them share."""
    if text.startswith("osteo_"):
        return text.split("_", 2)[2]
    return text.partition(".")[2] or text


def all_secrets(site: Site, created: str, rotated: str) -> dict[str, str]:
    """What must be nowhere, by its name."""
    lines = {name: line for name, line in credentials(site, created).items() if line}
    unused = site.authority.issue("unused").key
    return {
        **{f"sent {name}": secret_part(line.split(" ")[-1]) for name, line in lines.items()},
        "rotated key": secret_part(rotated),
        "database password": site.database_password,
        "Redis password": PASSWORD,
        "collector's token": site.collector_token,
        "collector's path": site.collector_path,
        **pem_lines(site.folder / "authority" / "client.pem"),
        **pem_lines(site.folder / "authority" / "client.key"),
        **pem_lines(site.folder / "authority" / "server.key"),
        **pem_lines(unused),
    }


def test_no_secret_is_said(site: Site, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said()
    arguments = ("--scope", "classify", "--scope", "explain", "--scope", "metrics")
    made = run_osteo(site.folder, "keys", "create", "lis", *arguments, **site.environ)
    created = made.stdout.strip()
    said.add("standard error of keys create", made.stderr)
    nobody = site.authority.trust()
    lis = site.authority.trust(site.authority.issue("client", CLIENT_NAME))
    with ready_service(site.folder, nobody, **site.environ) as server:
        use(server, site, said, created, nobody)
        assert ask(server, said, "/v1/classify", tls=lis) == 200
        key = f"Authorization: Bearer {created}"
        use_while_parts_are_away(server, site, said, key, cluster)
        assert server.stop() == 0
    rotated = run_commands(site, said)
    settings_errors(site, said)
    for name, value in site.environ.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    said.add("repr of the settings", repr(settings) + str(settings))
    said.add("dump of the settings", str(settings.model_dump()) + settings.model_dump_json())
    said.add("log", (site.folder / "serve.log").read_bytes())
    said.add_files(site.folder / "state")
    database = site.postgresql_url.partition("@/")[2].partition("?")[0]
    said.add("database", cluster.psql("SELECT * FROM audit", database))

    said.add("spans", site.collector.received)
    assert site.collector.headers[-1]["authorization"] == site.collector_token
    assert b"POST /v1/classify" in site.collector.received

    assert len(said) > 100_000
    assert said.find(all_secrets(site, created, rotated)) == []
    assert said.find({"a name that is no secret": "osteo_audit_records"}) != []
