"""The parts of uvicorn that `app/server` uses exist and behave as it needs.

uvicorn promises none of them, so that `pyproject.toml` bounds its version. Raise the bound after
this file and the rest of `tests/server` pass with the new version.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import socket
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.main import create_app
from app.server.run import DrainingServer, UnlimitedTileProtocol
from app.server.tile_protocol import TileProtocol
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of
from tests.conftest import REPOSITORY
from tests.server.connections import plain_app
from tests.servers import serving

OUR_CLASSES = [
    ours
    for leaf in (UnlimitedTileProtocol, DrainingServer)
    for ours in leaf.__mro__
    if ours.__module__.startswith("app.")
]
OVERRIDES = [
    pytest.param(ours, name, id=f"{ours.__name__}.{name}")
    for ours in OUR_CLASSES
    for name, member in vars(ours).items()
    if inspect.isfunction(member) and name != "__init__" and _replaces(ours, name)
]
