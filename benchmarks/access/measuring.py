"""Which configurations are compared, and with which requests."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.access.clients import Answers, send
from benchmarks.access.comparing import compare
from benchmarks.access.credentials import AUDIENCE, Certificate, bearer, make_api_key, provider
from benchmarks.access.databases import postgresql
from benchmarks.access.flood import measure_goodput, measure_refusals
from benchmarks.access.services import Configuration, Service, running
from benchmarks.machine import describe_host
from benchmarks.publish import Results
from benchmarks.tiles import collect_tiles

PARTS: Final = ("callers", "audit", "flood")
N_CLIENTS: Final = 8
_NO_TILE: Final = b"not a tile"
_TURN_REQUESTS: Final = 600  # of those that are refused for their form
_TURN_SINGLES: Final = 40  # tiles of a single client
_FLOOD_S: Final = 4.0
_N_REFUSED: Final = 80
_ONE_AT_A_TIME: Final = {"OSTEO_MAX_TILES_IN_FLIGHT": "1", "OSTEO_MAX_REQUEST_TILES": "1"}


def measure(options: argparse.Namespace) -> Results:
    """Measure the chosen parts; the results file of an earlier run keeps the others."""
    machine = describe_host()
    title, files = collect_tiles(options.tiles)
    tiles = [file.read_bytes() for file in files]
    results: Results = {
        "machine": machine,
        "tiles": title,
        "n_rounds": options.rounds,
        "n_tiles": options.turn_tiles,
    }
    parts = {"callers": _callers, "audit": _audit, "flood": _flood}
    for name in options.only or PARTS:
        print(f"access: {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            results[name] = parts[name](Path(folder), stack, tiles, options)
    return results


def _callers(
    folder: Path, stack: ExitStack, tiles: Sequence[bytes], options: argparse.Namespace
) -> dict[str, Any]:
    keys = folder / "keys.json"
    key = make_api_key(keys)
    key_env = {"OSTEO_KEYS_FILE": str(keys)}
    signer = stack.enter_context(provider())
    certificate = Certificate.create(folder)
    tls_env = {
        "OSTEO_TLS_CERTIFICATE": str(certificate.file),
        "OSTEO_TLS_KEY": str(certificate.key_file),
    }
    configurations = [
        Configuration("open"),
        Configuration("API key", key_env, headers=key),
        Configuration(
            "API key and rate limit",
            key_env | {"OSTEO_RATE_LIMITS": "classify=1000000/minute"},
            headers=key,
        ),
        Configuration(
            "access token, cached",
            {"OSTEO_OIDC_ISSUER": signer.issuer, "OSTEO_OIDC_AUDIENCE": AUDIENCE},
            headers=bearer(signer.token),
        ),
        Configuration("TLS, API key", key_env | tls_env, certificate.client(identifies=False), key),
        Configuration(
            "mutual TLS",
            tls_env | {"OSTEO_TLS_CLIENT_CA": str(certificate.file)},
            certificate.client(identifies=True),
        ),
    ]
    services = _start(stack, folder, configurations)

    def send_no_tiles(service: Service) -> Answers:
        return _expect(415, send(service.target, [_NO_TILE], 1, n_requests=_TURN_REQUESTS))

    return {
        "tiles": [found.to_json() for found in _compare_tiles(services, tiles, options)],
        "requests": [found.to_json() for found in compare(services, send_no_tiles, options.rounds)],
    }


def _audit(
    folder: Path, stack: ExitStack, tiles: Sequence[bytes], options: argparse.Namespace
) -> dict[str, Any]:
    configurations = [
        Configuration("off", {"OSTEO_AUDIT": "off"}),
        Configuration("on, SQLite", {"OSTEO_AUDIT": "on"}),
        Configuration("required, SQLite", {"OSTEO_AUDIT": "required"}),
    ]
    url = stack.enter_context(postgresql())
    if url is not None:
        configurations += [
            Configuration(
                f"{mode}, PostgreSQL",
                {"OSTEO_AUDIT": mode, "OSTEO_AUDIT_URL": url, "OSTEO_REPLICA": mode},
            )
            for mode in ("on", "required")
        ]
    services = _start(stack, folder, configurations)

    def send_singly(service: Service) -> Answers:
        return _expect(200, send(service.target, tiles, 1, n_requests=_TURN_SINGLES))

    return {
        "tiles": [found.to_json() for found in _compare_tiles(services, tiles, options)],
        "single": [found.to_json() for found in compare(services, send_singly, options.rounds)],
    }


def _flood(
    folder: Path, stack: ExitStack, tiles: Sequence[bytes], options: argparse.Namespace
) -> dict[str, Any]:
    keys = folder / "keys.json"
    key = make_api_key(keys)
    env = {"OSTEO_KEYS_FILE": str(keys)}
    usual, narrow = _start(
        stack,
        folder,
        [
            Configuration("API key", env, headers=key),
            Configuration("one tile at a time", env | _ONE_AT_A_TIME, headers=key),
        ],
    )
    send(usual.target, tiles, N_CLIENTS, n_requests=options.turn_tiles)  # warm up
    return {
        "goodput": measure_goodput(usual, tiles, options.rounds, _FLOOD_S),
        "refusals": measure_refusals(narrow, tiles[0], options.rounds, _N_REFUSED),
    }


def _start(
    stack: ExitStack, folder: Path, configurations: Iterable[Configuration]
) -> list[Service]:
    return [
        stack.enter_context(running(configuration, folder / str(i)))
        for i, configuration in enumerate(configurations)
    ]


def _compare_tiles(
    services: Sequence[Service], tiles: Sequence[bytes], options: argparse.Namespace
) -> list[Any]:
    def send_tiles(service: Service) -> Answers:
        return _expect(200, send(service.target, tiles, N_CLIENTS, n_requests=options.turn_tiles))

    return compare(services, send_tiles, options.rounds)


def _expect(status: int, answers: Answers) -> Answers:
    answers.require(status)
    return answers
