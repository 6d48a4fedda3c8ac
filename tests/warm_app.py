"""Fills the caches of regular expressions and types for the programs that are forked later."""

from __future__ import annotations

from app.main import create_app
from app.settings import Settings

create_app(Settings())
