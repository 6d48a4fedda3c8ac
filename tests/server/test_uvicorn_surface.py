"""What `app/server` uses of uvicorn exists and works as it needs.

uvicorn promises none of it, so `pyproject.toml` bounds its version. Raise that bound only after
all of `tests/server` has passed with the new version.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import socket
import time
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.main import create_app
from app.server.run import DrainingServer, UnlimitedTileProtocol
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of
from tests.conftest import REPOSITORY
from tests.server.connections import GET, plain_app
from tests.servers import serving

TREES = [ast.parse(file.read_text()) for file in (REPOSITORY / "app" / "server").glob("*.py")]
NODES = [node for tree in TREES for node in ast.walk(tree)]
IMPORTED = sorted(
    (node.module, alias.name)
    for node in NODES
    if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("uvicorn")
    for alias in node.names
)
OURS = [
    ours
    for leaf in (UnlimitedTileProtocol, DrainingServer)
    for ours in leaf.__mro__
    if ours.__module__.startswith("app.server.")
]
METHODS = [
    pytest.param(ours, name, id=f"{ours.__name__}.{name}")
    for ours in OURS
    for name, member in vars(ours).items()
    if inspect.isfunction(member) and not name.startswith("__")
]


def chain_of(node: ast.AST) -> tuple[str, ...]:
    """The names of an expression such as `self.flow.pause_reading`; "?" for all that is no name."""
    if isinstance(node, ast.Attribute):
        return (*chain_of(node.value), node.attr)
    return (node.id if isinstance(node, ast.Name) else "?",)


def definition_of(class_: type) -> ast.ClassDef:
    (found,) = [n for n in NODES if isinstance(n, ast.ClassDef) and n.name == class_.__name__]
    return found


def used_by(class_: type) -> set[tuple[str, ...]]:
    """Attributes of `self`, `super()` and a request's `cycle` that the methods of a class use."""
    nodes = [n for n in ast.walk(definition_of(class_)) if isinstance(n, ast.Attribute)]
    chains = {chain_of(node) for node in nodes}
    of_super = {(node.attr,) for node in nodes if ast.unparse(node.value) == "super()"}
    of_self = {chain[1:] for chain in chains if chain[0] == "self"}
    return of_super | of_self | {chain for chain in chains if chain[0] == "cycle"}


def assigned_by(class_: type) -> set[str]:
    """Attributes that the constructor of a class assigns."""
    return {
        node.attr
        for method in definition_of(class_).body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


def missing_from(theirs: object) -> list[str]:
    """Attributes that our subclasses of the class of `theirs` use and that it does not have."""
    classes = [ours for ours in OURS if issubclass(ours, type(theirs))]
    defined = {name for ours in classes for name in {*vars(ours), *assigned_by(ours)}}
    defined -= set(dir(theirs))
    missing = []
    for chain in sorted(set().union(*(used_by(ours) for ours in classes))):
        found = theirs
        for name in () if chain[0] in defined else chain:
            if not hasattr(found, name):
                missing.append(".".join(chain))
                break
            found = getattr(found, name)
    return missing


@pytest.mark.parametrize(("module", "name"), IMPORTED)
def test_imported_name_exists(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("ours", "name"), METHODS)
def test_method_has_the_parameters_of_the_one_it_overrides(ours: type, name: str) -> None:
    base = HttpToolsProtocol if issubclass(ours, HttpToolsProtocol) else uvicorn.Server
    if name.startswith("_") and not hasattr(base, name):
        return  # one of our own
    expected = list(inspect.signature(getattr(base, name)).parameters)
    assert list(inspect.signature(getattr(ours, name)).parameters) == expected


def test_protocol_has_every_attribute_that_is_used() -> None:
    async def serve_one() -> list[str]:
        loop = asyncio.get_running_loop()
        missing: asyncio.Future[list[str]] = loop.create_future()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            missing.set_result(missing_from(protocol))  # while a request is being handled
            await plain_app(scope, receive, send)

        protocol = HttpToolsProtocol(uvicorn.Config(app, log_config=None), ServerState(), {}, loop)
        client, accepted = socket.socketpair()
        with client:
            await loop.connect_accepted_socket(lambda: protocol, accepted)
            client.sendall(GET)
            return await asyncio.wait_for(missing, 10)

    assert asyncio.run(serve_one()) == []


def test_server_has_every_attribute_that_is_used() -> None:
    assert missing_from(uvicorn.Server(uvicorn.Config(plain_app, log_config=None))) == []


def test_one_tile_of_a_burst_starts_in_each_iteration_of_the_event_loop(
    models_dir: Path, runtime: FakeRuntime
) -> None:
    n_iterations = 0
    started_in: list[int] = []
    app = create_app(Settings(models_dir=models_dir), opener_of(runtime))

    def count_iterations() -> None:
        nonlocal n_iterations
        n_iterations += 1
        asyncio.get_running_loop().call_soon(count_iterations)

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_startup(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                count_iterations()
            await send(message)

        if scope["type"] == "lifespan":
            await app(scope, receive, send_startup)
            return
        started_in.append(n_iterations)
        if len(started_in) == 1:
            time.sleep(0.5)  # noqa: ASYNC251 - blocks the event loop while the others send
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    request = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with serving(observed) as address:
        connections = [socket.create_connection(address, timeout=10) for _ in range(20)]
        time.sleep(0.1)  # the server has accepted all of them
        connections[0].sendall(request)
        time.sleep(0.1)
        for connection in connections[1:]:
            connection.sendall(request)
        for connection in connections:
            assert connection.recv(4096).startswith(b"HTTP/1.1 204")
            connection.close()
    assert len(set(started_in)) == len(started_in) == 20
